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
