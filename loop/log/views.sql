-- The views are what the log offers to SQL. Money is in USD; `_nano` columns are exact.

create view stepped as
select run, seq, type, time, call, data,
  sum(type = 'Intended' and before is not 'Intended')
    over (partition by run order by seq) as step
from (select *, lag(type) over (partition by run order by seq) as before from events);

-- Every call with what came of it: an intent that is followed by no outcome is in doubt.
create view calls as
select run, step, seq, call, kind, time, data, outcome, came
from (
  select run, step, seq, call, type, time, data,
    json_extract(data, '$.call.is') as kind,
    lead(data) over same as outcome,
    lead(type) over same as came
  from stepped
  where type in ('Intended', 'Returned', 'Failed', 'Paused')
  window same as (partition by run, call order by seq)
)
where type = 'Intended';

create view model_calls as
select run, step, seq, call,
  strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time,
  json_extract(data, '$.call.model') as model,
  coalesce(json_extract(outcome, '$.result.model'),
    case came when 'Returned' then substr(json_extract(data, '$.call.model'),
      instr(json_extract(data, '$.call.model'), ':') + 1) end) as served_model,
  coalesce(json_extract(data, '$.call.purpose'), 'answer') as purpose,
  case came when 'Returned' then 'returned' when 'Failed' then 'failed' else 'unknown' end as state,
  case came when 'Returned' then coalesce(json_extract(outcome, '$.result.finish'), 'stop') end as finish,
  coalesce(json_extract(outcome, '$.result.usage.input_uncached'), 0) as input_uncached,
  coalesce(json_extract(outcome, '$.result.usage.cache_read'), 0) as cache_read,
  coalesce(json_extract(outcome, '$.result.usage.cache_write_short'), 0)
    + coalesce(json_extract(outcome, '$.result.usage.cache_write_long'), 0) as cache_write,
  coalesce(json_extract(outcome, '$.result.usage.output_visible'), 0) as output_visible,
  coalesce(json_extract(outcome, '$.result.usage.output_reasoning'), 0) as output_reasoning,
  coalesce(json_extract(outcome, '$.cost.high'), 0) as cost_nano,
  coalesce(json_extract(outcome, '$.cost.low'), 0) / 1e9 as cost_low_usd,
  coalesce(json_extract(outcome, '$.cost.high'), 0) / 1e9 as cost_usd,
  coalesce(json_extract(data, '$.call.quote.high'), 0) / 1e9 as quoted_usd,
  case
    when came = 'Failed' and coalesce(json_extract(outcome, '$.failure.status'), 0) >= 400 then 0
    when came = 'Returned' and json_extract(outcome, '$.result.usage') is not null then 0
    else coalesce(json_extract(data, '$.call.quote.high'), 0)
  end / 1e9 as possibly_billed_usd,
  json_extract(outcome, '$.cost.table') as price_table,
  json_extract(outcome, '$.seconds') as seconds,
  json_extract(outcome, '$.result.first_token') as first_token_seconds,
  coalesce(json_extract(outcome, '$.result.sent.prefix'), json_extract(outcome, '$.failure.sent.prefix')) as prefix,
  coalesce(json_extract(outcome, '$.result.sent.changed'), json_extract(outcome, '$.failure.sent.changed')) as prefix_changed,
  coalesce(json_extract(outcome, '$.result.sent.repairs'), json_extract(outcome, '$.failure.sent.repairs')) as repairs,
  json_extract(outcome, '$.failure.kind') as failure,
  coalesce(
    (select text from parts where digest = json_extract(outcome, '$.failure.message."$part"')),
    json_extract(outcome, '$.failure.message')
  ) as message,
  json_extract(outcome, '$.failure.status') as status,
  json_extract(outcome, '$.failure.retry_after') as retry_after,
  coalesce(json_extract(outcome, '$.result.request_id'), json_extract(outcome, '$.failure.request_id')) as request_id
from calls where kind = 'ModelCall'
order by run, seq;

create view tool_calls as
select run, step, seq, call,
  strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time,
  json_extract(data, '$.call.name') as tool,
  json_extract(data, '$.call.arguments') as arguments,
  json_extract(data, '$.call.effect') as effect,
  case came when 'Returned' then 'returned' when 'Failed' then 'failed' else 'unknown' end as state,
  coalesce(
    (select text from parts where digest = json_extract(outcome, '$.result.content."$part"')),
    json_extract(outcome, '$.result.content')
  ) as result,
  json_extract(outcome, '$.failure.kind') as failure,
  coalesce(
    (select text from parts where digest = json_extract(outcome, '$.failure.message."$part"')),
    json_extract(outcome, '$.failure.message')
  ) as message,
  json_extract(outcome, '$.seconds') as seconds
from calls where kind = 'ToolCall'
order by run, seq;

create view decisions as
select run, step, seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time,
  json_extract(data, '$.moment') as moment,
  json_extract(data, '$.policy') as policy,
  json_extract(data, '$.decision.is') as decision,
  coalesce(
    (select text from parts where digest = json_extract(data, '$.decision.why."$part"')),
    json_extract(data, '$.decision.why')
  ) as why,
  json_extract(data, '$.decision.to') as switched_to,
  json_extract(data, '$.decision.after') as after_seconds,
  coalesce(
    (select text from parts where digest = json_extract(data, '$.decision.feedback."$part"')),
    json_extract(data, '$.decision.feedback')
  ) as feedback,
  json_extract(data, '$.about') as call,
  json_extract(data, '$.parameters') as parameters,
  json_extract(data, '$.others') as overruled,
  coalesce(json_extract(data, '$.spent.settled'), 0) / 1e9 as settled_usd,
  coalesce(json_extract(data, '$.spent.reserved'), 0) / 1e9 as reserved_usd,
  coalesce(json_extract(data, '$.spent.presumed'), 0) / 1e9 as presumed_usd,
  coalesce(json_extract(data, '$.spent.model_calls'), 0) as model_calls,
  coalesce(json_extract(data, '$.seconds'), 0) as seconds
from stepped where type = 'Decided'
order by run, seq;

create view problems as
select run, step, seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time,
  verdict,
  json_extract(found.value, '$.check') as "check",
  coalesce(
    (select text from parts where digest = json_extract(found.value, '$.text."$part"')),
    json_extract(found.value, '$.text')
  ) as problem
from (
  select *, 'problem' as verdict, json_extract(data, '$.problems') as list from stepped where type = 'Inspected'
  union all
  select *, 'undecided', json_extract(data, '$.undecided') from stepped where type = 'Inspected'
), json_each(list) as found
order by run, seq;

create view steps as
select run, step, min(seq) as first_seq, max(seq) as last_seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', min(time), 'unixepoch') as time,
  max(time) - min(time) as seconds,
  sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ModelCall') as model_calls,
  sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ToolCall') as tool_calls,
  max(case when type = 'Intended' then json_extract(data, '$.call.model') end) as model,
  sum(type = 'Failed') as failures,
  sum(coalesce(json_extract(data, '$.cost.high'), 0)) as cost_nano,
  sum(coalesce(json_extract(data, '$.cost.high'), 0)) / 1e9 as cost_usd,
  group_concat(case when type = 'Decided'
    then (json_extract(data, '$.policy')) || ': ' || (json_extract(data, '$.decision.is')) end, '; ') as decided
from stepped where step > 0 group by run, step
order by run, step;

create view runs as
select s.run,
  coalesce(json_extract(s.data, '$.parent'), '') as parent,
  json_extract(s.data, '$.task') as task,
  json_extract(s.data, '$.version') as version,
  json_extract(s.data, '$.label') as label,
  json_extract(s.data, '$.inputs') as inputs,
  json_extract(s.data, '$.setting.model') as model,
  case last.type
    when 'Ended' then json_extract(last.data, '$.outcome')
    else case when exists (
      select 1 from events p where p.run = s.run and p.type = 'Paused' and p.seq > (
        select max(seq) from events c where c.run = s.run and c.type in ('Started', 'Resumed')
      )
    ) then 'waiting' else 'open' end
  end as outcome,
  case last.type when 'Ended' then coalesce(json_extract(last.data, '$.verified'), 0) end as verified,
  case last.type when 'Ended' then coalesce(
    (select text from parts where digest = json_extract(last.data, '$.why."$part"')),
    json_extract(last.data, '$.why')
  ) end as why,
  case last.type when 'Ended' then coalesce(
    (select text from parts where digest = json_extract(last.data, '$.output."$part"')),
    json_extract(last.data, '$.output')
  ) end as output,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.time, 'unixepoch') as started,
  last.time - s.time as seconds,
  totals.model_calls, totals.tool_calls, totals.cost_nano, totals.cost_nano / 1e9 as cost_usd,
  totals.events
from events s
join (
  select run, count(*) as events,
    sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ModelCall') as model_calls,
    sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ToolCall') as tool_calls,
    sum(case type
      when 'Returned' then coalesce(json_extract(data, '$.cost.high'), 0)
      when 'Reconciled' then json_extract(data, '$.cost') else 0 end) as cost_nano
  from events group by run
) totals on totals.run = s.run
join events last on last.run = s.run
  and last.seq = (select max(seq) from events where run = s.run and type <> 'Reconciled')
where s.type = 'Started'
order by s.run;

create view spend as
select date(m.time) as day, r.task, r.version, m.model,
  count(*) as model_calls,
  sum(m.state = 'failed') as failed,
  sum(m.input_uncached + m.cache_read + m.cache_write) as input_tokens,
  sum(m.output_visible + m.output_reasoning) as output_tokens,
  sum(m.cost_nano) as cost_nano,
  sum(m.cost_nano) / 1e9 as cost_usd,
  sum(m.possibly_billed_usd) as possibly_billed_usd
from model_calls m
join (select run, json_extract(data, '$.task') as task, json_extract(data, '$.version') as version
      from events where type = 'Started') r on r.run = m.run
group by 1, 2, 3, 4;

-- Every reservation, settlement, presumption and reconciliation of money, as what it changes: their
-- sums are the balances. What was under way when the run ended, or was taken up again, is presumed.
create view ledger as
with acts as (
  select *, lead(type) over same as came, lead(seq) over same as came_seq,
    lead(time) over same as came_time, lead(data) over same as outcome
  from events where type in ('Intended', 'Returned', 'Failed')
  window same as (partition by run, call order by seq)
),
made as (
  select run, seq, time, call, came, came_seq, came_time,
    json_extract(data, '$.call.model') as model,
    coalesce(json_extract(data, '$.call.quote.high'), 0) as quote,
    coalesce(json_extract(outcome, '$.cost.high'), 0) as cost,
    case came
      when 'Returned' then json_extract(outcome, '$.result.usage') is not null
      when 'Failed' then coalesce(json_extract(outcome, '$.failure.status'), 0) >= 400
    end as known
  from acts where type = 'Intended' and json_extract(data, '$.call.is') = 'ModelCall'
),
entries as (
  select run, seq, time, call, model, 'reserved' as entry,
    0 as settled, quote as reserved, 0 as presumed, 0 as excess, '' as by from made
  union all
  select run, came_seq, came_time, call, model, 'settled', cost, -quote, 0, max(cost - quote, 0), ''
  from made where known
  union all
  select run, came_seq, came_time, call, model, 'presumed', 0, -quote, quote, 0, ''
  from made where not known
  union all
  select made.run, e.seq, e.time, made.call, model, 'presumed', 0, -quote, quote, 0, ''
  from made join events e on e.run = made.run and e.seq = (
    select min(seq) from events
    where run = made.run and seq > made.seq and type in ('Resumed', 'Ended')
  )
  where known is null
  union all
  select run, seq, time, call, null, 'reconciled', json_extract(data, '$.cost'), 0,
    -json_extract(data, '$.presumed'),
    max(json_extract(data, '$.cost') - json_extract(data, '$.presumed'), 0),
    coalesce(json_extract(data, '$.by'), '')
  from events where type = 'Reconciled'
)
select run, seq, strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time, call, model, entry,
  settled as settled_nano, reserved as reserved_nano, presumed as presumed_nano,
  excess as excess_nano, settled / 1e9 as settled_usd, reserved / 1e9 as reserved_usd,
  presumed / 1e9 as presumed_usd, by
from entries order by run, seq;

-- What is used of each ceiling in each of its windows, in its unit (USD, tokens, requests, failures).
-- What it allows is what the run that named it last has said.
create view ceilings as
with said as (
  select c.value as data, row_number() over (
    partition by json_extract(c.value, '$.name') order by e.time desc) as age
  from events e, json_each(e.data, '$.setting.ceilings') as c where e.type in ('Started', 'Resumed')
),
newest as (
  select json_extract(data, '$.name') as name, json_extract(data, '$.limit') as allowed,
    coalesce(json_extract(data, '$.unit'), 'usd') as unit,
    coalesce(json_extract(data, '$.model'), '*') as model
  from said where age = 1
)
select ceiling, window, unit, model,
  allowed / scale as allowed, settled / scale as settled, reserved / scale as reserved,
  presumed / scale as presumed, (allowed - settled - reserved - presumed) / scale as remaining
from (select *, case unit when 'usd' then 1e9 else 1 end as scale from balances
  join newest on name = ceiling)
order by ceiling, window;
