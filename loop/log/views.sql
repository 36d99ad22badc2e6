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
    sum(case when type = 'Returned' then coalesce(json_extract(data, '$.cost.high'), 0) else 0 end) as cost_nano
  from events group by run
) totals on totals.run = s.run
join events last on last.run = s.run
  and last.seq = (select max(seq) from events where run = s.run)
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
