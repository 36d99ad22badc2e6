-- One row an event. The primary key is the fence: a second process that carries on the same run
-- fails at its first append.
create table events (
  run text not null,
  seq integer not null,
  type text not null,
  time real not null,
  call text,
  data text not null,
  primary key (run, seq)
) strict, without rowid;

create index events_ends on events (type, run) where type in ('Started', 'Ended');

-- Long texts, once each, by their content.
create table parts (
  digest text primary key,
  text text not null
) strict, without rowid;

-- What people answered, until a run picks it up; the first answer to a question counts.
create table answers (
  id integer primary key,
  run text not null,
  call text not null,
  time real not null,
  text text not null,
  by text not null,
  note text not null
) strict;

create index answers_of on answers (run, call);

create trigger events_no_update before update on events
begin select raise(abort, 'the log is append-only'); end;
create trigger events_no_delete before delete on events
begin select raise(abort, 'the log is append-only'); end;
create trigger parts_no_update before update on parts
begin select raise(abort, 'the log is append-only'); end;
create trigger parts_no_delete before delete on parts
begin select raise(abort, 'the log is append-only'); end;
create trigger answers_no_update before update on answers
begin select raise(abort, 'the log is append-only'); end;
create trigger answers_no_delete before delete on answers
begin select raise(abort, 'the log is append-only'); end;
