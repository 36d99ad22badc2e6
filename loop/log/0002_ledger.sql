-- What the runs that share a ceiling have settled, reserved and presumed spent, in nano-dollars, by
-- calendar window. Changed in the transaction of the events that it follows from, and rebuildable
-- from them.
create table balances (
  ceiling text not null,
  window text not null,
  settled integer not null,
  reserved integer not null,
  presumed integer not null,
  primary key (ceiling, window)
) strict, without rowid;

-- Replies and results that may be used again until some time: a convenience, and nothing else.
create table kept (
  key text primary key,
  until real not null,
  text text not null
) strict, without rowid;

-- What other policies would have done with the runs: a row for each run and set of policies.
create table whatif (
  policies text not null,
  run text not null,
  task text not null,
  version text not null,
  outcome text,
  cost_nano integer not null,
  cost_usd real not null,
  would_be text,
  exact integer not null,
  at_least_nano integer not null,
  at_least_usd real not null,
  at_most_nano integer,
  at_most_usd real,
  seconds real not null,
  model_calls integer not null,
  model_calls_at_most integer,
  seq integer,
  step integer,
  moment text,
  recorded_policy text,
  recorded_decision text,
  policy text,
  decision text,
  why text,
  primary key (policies, run)
) strict, without rowid;
