-- CRC-32 of the row's other columns, so that a damaged event is noticed; see `rows.checksum`.
alter table events add column checksum integer not null default 0;

-- The totals of the runs that are over, made from their events when somebody asks (`Log.sum_up`), and
-- made anew after they were dropped. They stay when the events of old runs are removed.
create table run_totals (
  run text primary key,
  root text not null,
  parent text not null,
  task text not null,
  version text not null,
  label text not null,
  model text not null,
  outcome text not null,
  verified integer not null,
  started real not null,
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

-- The runs whose totals are not made yet, or hold no longer.
create table unsummed (
  run text primary key
) strict, without rowid;

create trigger events_unsummed after insert on events
when new.type in ('Started', 'Resumed', 'Reconciled')
begin
  insert or ignore into unsummed values (new.run);
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
