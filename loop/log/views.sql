-- The views are what the log offers to SQL. Money is in USD; `_nano` columns are exact. Times are UTC.
-- What is asked of one run (`where run = ...`) is read from that run alone, but for `ledger`.
-- `likely` is there for joins: without it SQLite takes a view for a few rows, and makes no index.

-- Every event with its step: what the other views are made of.
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
  where likely(type in ('Intended', 'Returned', 'Failed', 'Paused'))
  window same as (partition by run, call order by seq)
)
where likely(type = 'Intended');

-- Every call to a model: which one, tokens by bucket, cost, latency, how it finished or failed.
-- `policy` is whose TryAgain or Switch made it necessary; without one the task itself did.
create view model_calls as
select run, step, seq, call,
  strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time,
  json_extract(data, '$.call.model') as model,
  coalesce(json_extract(outcome, '$.result.model'),
    case came when 'Returned' then substr(json_extract(data, '$.call.model'),
      instr(json_extract(data, '$.call.model'), ':') + 1) end) as served_model,
  coalesce(json_extract(data, '$.call.purpose'), 'answer') as purpose,
  (select json_extract(d.data, '$.policy') from events d
    where d.run = calls.run and d.seq < calls.seq and (
      d.type = 'Failed'
      or d.type = 'Returned' and json_extract(d.data, '$.result.is') in ('Reply', 'ToolResult')
      or d.type = 'Decided' and (json_extract(d.data, '$.decision.is') = 'Switch'
        or json_extract(d.data, '$.decision.is') = 'TryAgain' and json_extract(d.data, '$.moment') <> 'call'))
    order by d.seq desc limit 1) as policy,
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
  coalesce(json_extract(outcome, '$.result.request_id'), json_extract(outcome, '$.failure.request_id')) as request_id,
  coalesce(json_extract(outcome, '$.cached'), 0) as cached
from calls where likely(kind = 'ModelCall')
order by run, seq;

-- Every call to a tool: its arguments, what repeating it may do, its result or failure.
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
  json_extract(outcome, '$.seconds') as seconds,
  coalesce(json_extract(outcome, '$.cached'), 0) as cached
from calls where likely(kind = 'ToolCall')
order by run, seq;

-- Every opinion that counted: when, whose, with which parameters, why, and what was spent by then.
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
from stepped where likely(type = 'Decided')
order by run, seq;

-- What each check found wrong with an answer (`problem`), or could not tell (`undecided`).
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

-- One pass of the loop: the calls made together, what they cost, and what was decided then.
create view steps as
select distinct run, step, min(seq) over same as first_seq, max(seq) over same as last_seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', min(time) over same, 'unixepoch') as time,
  max(time) over same - min(time) over same as seconds,
  sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ModelCall') over same as model_calls,
  sum(type = 'Intended' and json_extract(data, '$.call.is') = 'ToolCall') over same as tool_calls,
  max(case when type = 'Intended' then json_extract(data, '$.call.model') end) over same as model,
  sum(type = 'Failed') over same as failures,
  sum(coalesce(json_extract(data, '$.cost.high'), 0)) over same as cost_nano,
  sum(coalesce(json_extract(data, '$.cost.high'), 0)) over same / 1e9 as cost_usd,
  group_concat(case when type = 'Decided'
    then (json_extract(data, '$.policy')) || ': ' || (json_extract(data, '$.decision.is')) end, '; ')
    over same as decided
from stepped where step > 0
window same as (
  partition by run, step order by seq rows between unbounded preceding and unbounded following
)
order by run, step;

-- Every question to a person, who answered what, and the tool call that waited for it (`about`).
-- An answer that no process has picked up yet has no `answered` time.
create view approvals as
with asked as (
  select run, step, seq, call, time, outcome, came_time,
    coalesce(json_extract(data, '$.call.purpose'), 'approval') as purpose,
    coalesce(
      (select text from parts where digest = json_extract(data, '$.call.text."$part"')),
      json_extract(data, '$.call.text')
    ) as question,
    json_extract(data, '$.call.about') as about
  from (
    select *, lead(data) over same as outcome, lead(time) over same as came_time
    from stepped where likely(type in ('Intended', 'Returned'))
    window same as (partition by run, call order by seq)
  )
  where likely(type = 'Intended') and likely(json_extract(data, '$.call.is') = 'Question')
)
select asked.run, step, asked.seq, asked.call,
  strftime('%Y-%m-%dT%H:%M:%fZ', asked.time, 'unixepoch') as time,
  (select json_extract(d.data, '$.policy') from events d
    where d.run = asked.run and d.seq < asked.seq and d.type = 'Decided' and d.call is about
      and json_extract(d.data, '$.decision.is') = 'Ask'
    order by d.seq desc limit 1) as policy,
  purpose, question, about,
  (select json_extract(wish.value, '$.name')
    from events r, json_each(r.data, '$.result.blocks') as wish
    where r.run = asked.run and r.seq < asked.seq and r.type = 'Returned'
      and json_extract(wish.value, '$.id') = about
    order by r.seq desc limit 1) as tool,
  (select json_extract(wish.value, '$.arguments')
    from events r, json_each(r.data, '$.result.blocks') as wish
    where r.run = asked.run and r.seq < asked.seq and r.type = 'Returned'
      and json_extract(wish.value, '$.id') = about
    order by r.seq desc limit 1) as arguments,
  coalesce(
    (select text from parts where digest = json_extract(outcome, '$.result.text."$part"')),
    json_extract(outcome, '$.result.text'),
    (select text from answers where run = asked.run and call = asked.call order by id limit 1)
  ) as answer,
  coalesce(
    json_extract(outcome, '$.result.by'),
    (select by from answers where run = asked.run and call = asked.call order by id limit 1),
    ''
  ) as by,
  coalesce(
    (select text from parts where digest = json_extract(outcome, '$.result.note."$part"')),
    json_extract(outcome, '$.result.note'),
    (select note from answers where run = asked.run and call = asked.call order by id limit 1),
    ''
  ) as note,
  strftime('%Y-%m-%dT%H:%M:%fZ', came_time, 'unixepoch') as answered,
  came_time - asked.time as waited_seconds
from asked
order by run, seq;

-- Every message: the prompt, what models said and called, what tools and people gave, feedback.
-- In the arguments of a call, texts of more than 512 characters stand by their digest in `parts`.
create view messages as
with places(type, role, path) as (
  values ('Started', 'system', '$.system'), ('Started', 'user', '$.prompt'),
    ('Decided', 'user', '$.decision.feedback'), ('Returned', 'tool', '$.result.content'),
    ('Returned', 'person', '$.result.text'), ('Returned', 'person', '$.result.note')
),
told as (
  select d.run, d.seq, d.time, d.data, json_extract(d.data, '$.decision.is') = 'Refuse' as refused,
    (select f.data from events f
      where f.run = d.run and f.seq < d.seq and f.call = d.call and f.type = 'Failed'
      order by f.seq desc limit 1) as failed
  from events d
  where likely(d.type = 'Decided')
    and (json_extract(d.data, '$.decision.is') = 'Refuse'
      or json_extract(d.data, '$.decision.is') in ('Accept', 'Switch')
        and json_extract(d.data, '$.moment') = 'failure')
    and exists (
      select 1 from events r, json_each(r.data, '$.result.blocks') as wish
      where r.run = d.run and r.seq < d.seq and r.type = 'Returned'
        and json_extract(wish.value, '$.id') = d.call
    )
),
said as (
  select run, seq, time, role, data, path
  from events join places on likely(places.type = events.type)
  union all
  select run, seq, time, 'tool', iif(refused, data, failed),
    iif(refused, '$.decision.why', '$.failure.message')
  from told
  union all
  select run, seq, time, 'assistant', data, block.fullkey || '.text'
  from events, json_each(data, '$.result.blocks') as block
  where likely(events.type = 'Returned')
  union all
  select run, seq, time, 'call', data, block.fullkey || '.arguments'
  from events, json_each(data, '$.result.blocks') as block
  where likely(events.type = 'Returned')
)
select run, seq, strftime('%Y-%m-%dT%H:%M:%fZ', time, 'unixepoch') as time, role,
  coalesce(
    (select text from parts where digest = json_extract(data, path || '."$part"')),
    json_extract(data, path)
  ) as text
from said where likely(json_extract(data, path) is not null)
order by run, seq;

-- Every run with its task and the run at the top of its tree: the one that nobody delegated.
create view trees as
select run, coalesce(json_extract(data, '$.parent'), '') as parent,
  (with recursive up(run, parent, height) as (
      select s.run, json_extract(s.data, '$.parent'), 0
      union all
      select above.run, json_extract(above.data, '$.parent'), height + 1
      from up join events above on above.run = up.parent and above.seq = 1
    )
    select run from up order by height desc limit 1) as root,
  json_extract(data, '$.task') as task,
  json_extract(data, '$.version') as version,
  json_extract(data, '$.label') as label
from events s where type = 'Started' and seq = 1;

-- Every run: its task, prompt version and inputs, how it ended and why, what it took and cost.
-- `waiting` is for a person, `open` still goes on, or its process has died. The cost is with that
-- of the runs that it has delegated.
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
  totals.events, totals.attempts
from events s
join (
  select run, count(*) as events,
    sum(type = 'Inspected' and json_extract(data, '$.judging') is null) as attempts,
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

-- The prompt versions of each task side by side. `acceptance` is of the runs that ended; `at_once`
-- are those accepted at the first attempt. What an accepted answer costs counts the others' cost, too.
create view tasks as
select task, version, label, min(started) as first_run, count(*) as runs,
  sum(over) as ended,
  sum(outcome = 'accepted') as accepted,
  sum(outcome = 'accepted' and attempts = 1) as at_once,
  1.0 * sum(outcome = 'accepted') / nullif(sum(over), 0) as acceptance,
  1.0 * sum(outcome = 'accepted' and attempts = 1) / nullif(sum(over), 0) as at_once_acceptance,
  avg(attempts) as attempts,
  sum(model_calls) as model_calls,
  sum(cost_nano) as cost_nano,
  sum(cost_nano) / 1e9 as cost_usd,
  sum(cost_nano) / 1e9 / nullif(sum(outcome = 'accepted'), 0) as usd_per_accepted,
  avg(case when over then seconds end) as seconds,
  max(case when over then seconds end) as longest_seconds
from (select *, outcome not in ('waiting', 'open') as over from runs)
group by task, version, label
order by task, first_run;

-- Money by day, run tree (`root`), task, prompt version, model, purpose and policy: to be summed up.
-- `policy` is as in `model_calls`, and '' where there is none.
create view spend as
select date(m.time) as day, t.root, t.task, t.version, m.model, m.purpose,
  coalesce(m.policy, '') as policy,
  count(*) as model_calls,
  sum(m.state = 'failed') as failed,
  sum(m.input_uncached + m.cache_read + m.cache_write) as input_tokens,
  sum(m.output_visible + m.output_reasoning) as output_tokens,
  sum(m.cost_nano) as cost_nano,
  sum(m.cost_nano) / 1e9 as cost_usd,
  sum(m.possibly_billed_usd) as possibly_billed_usd
from model_calls m join trees t on t.run = m.run
group by 1, 2, 3, 4, 5, 6, 7;

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
