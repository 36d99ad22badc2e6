-- CRC-32 of the row's other columns, so that a damaged event is noticed; see `rows.checksum`.
alter table events add column checksum integer not null default 0;

drop trigger events_no_update;
update events set checksum = checksum(run, seq, type, time, call, data);
create trigger events_no_update before update on events
begin select raise(abort, 'the log is append-only'); end;

-- The runs one by one, and what they were carried out with, the newest last. SQLite uses a partial
-- index only for a query that repeats its condition word for word.
drop index events_ends;
create index events_started on events (run) where type = 'Started';
create index events_settings on events (time) where type in ('Started', 'Resumed');

-- The totals of the runs that rest, made from their events when somebody asks (`Log.sum_up`). They
-- stay when the events of old runs are removed.
create table run_totals (
  run text primary key,
  root text not null,
  parent text not null,
  base text not null,
  base_seq integer,
  task text not null,
  version text not null,
  label text not null,
  model text not null,
  outcome text not null,
  verified integer,
  started text not null,
  seconds real not null,
  model_calls integer not null,
  tool_calls integer not null,
  cost_nano integer not null,
  events integer not null,
  attempts integer not null
) strict, without rowid;

create index run_totals_started on run_totals (started);

create table spend_totals (
  run text not null,
  root text not null,
  task text not null,
  version text not null,
  day text not null,
  model text not null,
  purpose text not null,
  policy text not null,
  model_calls integer not null,
  failed integer not null,
  input_tokens integer not null,
  output_tokens integer not null,
  cost_nano integer not null,
  possibly_billed_nano integer not null,
  primary key (run, day, model, purpose, policy)
) strict, without rowid;

create index spend_totals_day on spend_totals (day);

-- The runs whose totals are not made yet, or hold no longer: any event takes them back.
create table unsummed (
  run text primary key
) strict, without rowid;

insert into unsummed select distinct run from events;

create trigger events_unsummed after insert on events
when not exists (select 1 from unsummed where run = new.run)
begin
  insert into unsummed values (new.run);
  delete from run_totals where run = new.run;
  delete from spend_totals where run = new.run;
end;

-- How far each run was exported to each endpoint.
create table exported (
  endpoint text not null,
  run text not null,
  seq integer not null,
  primary key (endpoint, run)
) strict, without rowid;
