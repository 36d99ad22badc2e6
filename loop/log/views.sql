-- The views are what the log offers to SQL. Money is in USD; `_nano` columns are exact. Times are UTC.
-- What is asked of one run, or of the runs that another table brings in a join, is read from these
-- alone: no view below sorts, and none but `steps`, `messages` and `ledger` puts rows together first.

-- Which events each pass of the loop has made: `step` 0 is what came before the first call. What is
-- open where a fork begins is asked again in the step that asked it. The passes are counted once for
-- a run, as JSON, which is the one way to do it inside of a join.
create view passes as
select s.run, pass.key + coalesce(json_extract(s.data, '$.steps'), 0) as step,
  json_extract(pass.value, '$[0]') as first_seq,
  json_extract(pass.value, '$[1]') as last_seq
from events s indexed by events_started cross join json_each((
  select json_group_array(json_array(seq, next - 1)) from (
    select seq, lead(seq, 1, 1 << 62) over (order by seq) as next from (
      select seq, type, data, lag(type) over (order by seq) as before from events where run = s.run
    ) where before is null or type = 'Intended' and before <> 'Intended'
      and (before <> 'Started' or json_extract(data, '$.call.is') <> 'Question')
  )
)) as pass
where s.type = 'Started';

-- Every event with its step: what other views are made of. A fork has only its own events here; its
-- steps count on from those that it shares.
create view stepped as
select e.run, e.seq, e.type, e.time, e.call, e.data, p.step
from passes p cross join events e on e.run = p.run and e.seq between p.first_seq and p.last_seq;

-- Every call with what came of it: an intent that is followed by no outcome is in doubt.
create view calls as
select i.run, i.step, i.seq, i.call, json_extract(i.data, '$.call.is') as kind, i.time, i.data,
  o.data as outcome, o.type as came, o.seq as came_seq, o.time as came_time
from stepped i left join events o on o.run = i.run and o.seq = (
  select n.seq from events n
  where n.run = i.run and n.seq > i.seq and n.call = i.call
    and n.type in ('Intended', 'Returned', 'Failed', 'Paused')
  order by n.seq limit 1
)
where i.type = 'Intended';

-- Every call to a model: which one, tokens by bucket, cost, latency, how it finished or failed.
-- `policy` is whose TryAgain or Switch made it necessary; without one the task itself did. What a call
-- without figures has really cost is known once it is reconciled; until then it is possibly billed.
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
  coalesce(reconciled, json_extract(outcome, '$.cost.high'), 0) as cost_nano,
  coalesce(reconciled, json_extract(outcome, '$.cost.low'), 0) / 1e9 as cost_low_usd,
  coalesce(reconciled, json_extract(outcome, '$.cost.high'), 0) / 1e9 as cost_usd,
  coalesce(quote, 0) / 1e9 as quoted_usd,
  iif(known or reconciled is not null, 0, coalesce(quote, 0)) / 1e9 as possibly_billed_usd,
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
  coalesce(json_extract(outcome, '$.cached'), 0) as cached,
  iif(known or reconciled is not null, 0, coalesce(quote, 0)) as possibly_billed_nano
from (
  select *, iif(known, null, (
      -- If the outcome of a call was lost more than once, they are reconciled together.
      select iif(exists (
        select 1 from events l where l.run = r.run and l.call = r.call and l.type = 'Intended'
          and l.seq > priced.seq and l.seq < r.seq and coalesce((
            select case o.type
              when 'Returned' then json_extract(o.data, '$.result.usage') is null
              when 'Failed' then coalesce(json_extract(o.data, '$.failure.status'), 0) < 400
              else 1 end
            from events o where o.run = l.run and o.call = l.call and o.seq > l.seq
              and o.type in ('Intended', 'Returned', 'Failed', 'Paused')
            order by o.seq limit 1
          ), 1)
      ), 0, json_extract(r.data, '$.cost')) from events r
      where r.run = priced.run and r.seq > priced.seq and r.type = 'Reconciled'
        and r.call = priced.call
      order by r.seq limit 1
    )) as reconciled
  from (
    select *, json_extract(data, '$.call.quote.high') as quote,
      coalesce(case came
        when 'Returned' then json_extract(outcome, '$.result.usage') is not null
        when 'Failed' then json_extract(outcome, '$.failure.status') >= 400
      end, 0) as known
    from calls where kind = 'ModelCall'
  ) as priced
) as calls;

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
  coalesce(json_extract(outcome, '$.cached'), 0) as cached,
  coalesce(json_extract(data, '$.call.purpose'), 'call') as purpose
from calls where kind = 'ToolCall';

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
from stepped where type = 'Decided';

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
from stepped e
cross join (
  select 'problem' as verdict, '$.problems' as list union all select 'undecided', '$.undecided'
)
cross join json_each(e.data, list) as found
where e.type = 'Inspected';

-- One pass of the loop: the calls made together, what they cost, and what was decided then.
create view steps as
select p.run, p.step, p.first_seq, max(e.seq) as last_seq,
  strftime('%Y-%m-%dT%H:%M:%fZ', min(e.time), 'unixepoch') as time,
  max(e.time) - min(e.time) as seconds,
  sum(e.type = 'Intended' and json_extract(e.data, '$.call.is') = 'ModelCall') as model_calls,
  sum(e.type = 'Intended' and json_extract(e.data, '$.call.is') = 'ToolCall') as tool_calls,
  max(case when e.type = 'Intended' then json_extract(e.data, '$.call.model') end) as model,
  sum(e.type = 'Failed') as failures,
  sum(coalesce(json_extract(e.data, '$.cost.high'), 0)) as cost_nano,
  sum(coalesce(json_extract(e.data, '$.cost.high'), 0)) / 1e9 as cost_usd,
  (select group_concat(said, '; ') from (
    select json_extract(d.data, '$.policy') || ': ' || json_extract(d.data, '$.decision.is') as said
    from events d
    where d.run = p.run and d.seq between p.first_seq and p.last_seq and d.type = 'Decided'
    order by d.seq
  )) as decided
from passes p cross join events e on e.run = p.run and e.seq between p.first_seq and p.last_seq
where p.step > 0
group by p.run, p.step;

-- Every question to a person, who answered what, and the tool call that waited for it (`about`).
-- An answer that no process has picked up yet has no `answered` time. What a run went on with is told
-- without the name and the note of an answer that came too late.
create view approvals as
select asked.run, step, asked.seq, asked.call,
  strftime('%Y-%m-%dT%H:%M:%fZ', asked.time, 'unixepoch') as time,
  (select json_extract(d.data, '$.policy') from events d
    where d.run = asked.run and d.seq < asked.seq and d.type = 'Decided' and d.call is about
      and json_extract(d.data, '$.decision.is') = 'Ask'
    order by d.seq desc limit 1) as policy,
  purpose, question, about,
  json_extract(wish, '$.name') as tool,
  json_extract(wish, '$.arguments') as arguments,
  coalesce(
    said,
    (select text from parts where digest = json_extract(outcome, '$.result.text."$part"')),
    json_extract(outcome, '$.result.text')
  ) as answer,
  coalesce(said_by, json_extract(outcome, '$.result.by'), '') as by,
  coalesce(
    said_note,
    (select text from parts where digest = json_extract(outcome, '$.result.note."$part"')),
    json_extract(outcome, '$.result.note'),
    ''
  ) as note,
  strftime('%Y-%m-%dT%H:%M:%fZ', came_time, 'unixepoch') as answered,
  came_time - asked.time as waited_seconds,
  came_time is null and exists (
    select 1 from events d where d.run = asked.run and d.seq > asked.seq and d.type = 'Unwinding'
  ) as withdrawn
from (
  select i.run, i.step, i.seq, i.call, i.time, o.data as outcome,
    case o.type when 'Returned' then o.time end as came_time,
    given.text as said, given.by as said_by, given.note as said_note,
    coalesce(json_extract(i.data, '$.call.purpose'), 'approval') as purpose,
    coalesce(
      (select text from parts where digest = json_extract(i.data, '$.call.text."$part"')),
      json_extract(i.data, '$.call.text')
    ) as question,
    json_extract(i.data, '$.call.about') as about,
    (select block.value from events r, json_each(r.data, '$.result.blocks') as block
      where r.run = i.run and r.seq < i.seq and r.type = 'Returned'
        and json_extract(block.value, '$.id') = json_extract(i.data, '$.call.about')
      order by r.seq desc limit 1) as wish
  from stepped i left join events o on o.run = i.run and o.seq = (
    select n.seq from events n
    where n.run = i.run and n.seq > i.seq and n.call = i.call and n.type in ('Intended', 'Returned')
    order by n.seq limit 1
  )
  left join answers given on o.type is not 'Returned' and given.id = (
    select id from answers where run = i.run and call = i.call order by id limit 1
  )
  where i.type = 'Intended' and json_extract(i.data, '$.call.is') = 'Question'
) as asked;

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

-- The run at the top of each run's tree: the one that nobody delegated.
create view tops as
select s.run,
  (with recursive up(run, parent, height) as (
      select s.run, json_extract(s.data, '$.parent'), 0
      union all
      select above.run, json_extract(above.data, '$.parent'), height + 1
      from up join events above indexed by events_started
        on above.run = up.parent and above.type = 'Started'
    )
    select run from up order by height desc limit 1) as root
from events s indexed by events_started where s.type = 'Started';

-- What `run_totals` will hold of the runs whose totals are not made.
create view unsummed_runs as
select told.run,
  t.root,
  coalesce(json_extract(s.data, '$.parent'), '') as parent,
  coalesce(json_extract(s.data, '$.base'), '') as base,
  json_extract(s.data, '$.shared') as base_seq,
  json_extract(s.data, '$.task') as task,
  coalesce(json_extract(s.data, '$.version'), '') as version,
  coalesce(json_extract(s.data, '$.label'), '') as label,
  json_extract(s.data, '$.setting.model') as model,
  case
    when last.type = 'Ended' then json_extract(last.data, '$.outcome')
    when told.paused > told.taken then 'waiting'
    else 'open'
  end as outcome,
  case last.type when 'Ended' then coalesce(json_extract(last.data, '$.verified'), 0) end as verified,
  strftime('%Y-%m-%dT%H:%M:%fZ', s.time, 'unixepoch') as started,
  last.time - s.time as seconds,
  told.model_calls, told.tool_calls, told.cost_nano, told.events, told.attempts
from (
  select u.run, min(e.seq) as first, max(iif(e.type = 'Reconciled', 0, e.seq)) as last,
    max(iif(e.type in ('Started', 'Resumed'), e.seq, 0)) as taken,
    max(iif(e.type = 'Paused', e.seq, 0)) as paused,
    count(*) as events,
    sum(e.type = 'Inspected' and json_extract(e.data, '$.judging') is null) as attempts,
    sum(e.type = 'Intended' and json_extract(e.data, '$.call.is') = 'ModelCall') as model_calls,
    sum(e.type = 'Intended' and json_extract(e.data, '$.call.is') = 'ToolCall') as tool_calls,
    sum(case e.type
      when 'Returned' then coalesce(json_extract(e.data, '$.cost.high'), 0)
      when 'Reconciled' then json_extract(e.data, '$.cost') else 0 end) as cost_nano
  from unsummed u cross join events e on e.run = u.run
  group by u.run
) as told
cross join events s on s.run = told.run and s.seq = told.first and s.type = 'Started'
cross join events last on last.run = told.run and last.seq = told.last
cross join tops t on t.run = told.run;

-- Every run with its task and the run at the top of its tree: the one that nobody delegated.
create view trees as
select run, parent, root, task, version, label
from (select * from run_totals union all select * from unsummed_runs);

-- Every run: its task, prompt version and inputs, how it ended and why, what it took and cost.
-- `waiting` is for a person, `open` still goes on, or its process has died. The cost is with that
-- of the runs that it has delegated. A fork has gone on from another run, its `base`, after that
-- run's event `base_seq`; only its own events count.
create view runs as
select run, parent, task, version, label,
  (select json_extract(s.data, '$.inputs') from events s indexed by events_started
    where s.run = t.run and s.type = 'Started') as inputs,
  model, outcome, verified,
  (select coalesce(
      (select text from parts where digest = json_extract(e.data, '$.why."$part"')),
      json_extract(e.data, '$.why')
    ) from events e
    where e.run = t.run and e.type = 'Ended' and verified is not null
    order by e.seq desc limit 1) as why,
  (select coalesce(
      (select text from parts where digest = json_extract(e.data, '$.output."$part"')),
      json_extract(e.data, '$.output')
    ) from events e
    where e.run = t.run and e.type = 'Ended' and verified is not null
    order by e.seq desc limit 1) as output,
  started, seconds, model_calls, tool_calls, cost_nano, cost_nano / 1e9 as cost_usd, events,
  attempts, root, base, base_seq
from (select * from run_totals union all select * from unsummed_runs) as t;

-- The prompt versions of each task side by side. `acceptance` is of the runs that ended; `at_once`
-- are those accepted at the first attempt. What an accepted answer costs counts the others' cost, too.
create view tasks as
select task, version, label, min(started) as first_run, count(*) as runs,
  sum(over) as ended, sum(outcome = 'accepted') as accepted,
  sum(outcome = 'accepted' and attempts = 1) as at_once,
  1.0 * sum(outcome = 'accepted') / nullif(sum(over), 0) as acceptance,
  1.0 * sum(outcome = 'accepted' and attempts = 1) / nullif(sum(over), 0) as at_once_acceptance,
  avg(attempts) as attempts, sum(model_calls) as model_calls,
  sum(cost_nano) as cost_nano, sum(cost_nano) / 1e9 as cost_usd,
  sum(cost_nano) / 1e9 / nullif(sum(outcome = 'accepted'), 0) as usd_per_accepted,
  avg(case when over then seconds end) as seconds,
  max(case when over then seconds end) as longest_seconds
from (
  select task, version, label, started, outcome, attempts, model_calls, cost_nano, seconds,
    outcome not in ('waiting', 'open') as over from run_totals
  union all
  select task, version, label, started, outcome, attempts, model_calls, cost_nano, seconds,
    outcome not in ('waiting', 'open') from unsummed_runs
)
group by task, version, label
order by task, first_run;

-- What `spend_totals` will hold of the runs whose totals are not made.
create view unsummed_spend as
select u.run, t.root, json_extract(s.data, '$.task') as task,
  coalesce(json_extract(s.data, '$.version'), '') as version, date(m.time) as day, m.model, m.purpose,
  coalesce(m.policy, '') as policy,
  count(*) as model_calls, sum(m.state = 'failed') as failed,
  sum(m.input_uncached + m.cache_read + m.cache_write) as input_tokens,
  sum(m.output_visible + m.output_reasoning) as output_tokens,
  sum(m.cost_nano) as cost_nano, sum(m.possibly_billed_nano) as possibly_billed_nano
from unsummed u
cross join events s indexed by events_started on s.run = u.run and s.type = 'Started'
cross join tops t on t.run = u.run
cross join model_calls m on m.run = u.run
group by u.run, date(m.time), m.model, m.purpose, coalesce(m.policy, '');

-- Money by run, run tree (`root`), day, task, prompt version, model, purpose and policy: to be
-- summed up. `policy` is as in `model_calls`, and '' where there is none.
create view spend as
select day, root, task, version, model, purpose, policy, model_calls, failed, input_tokens,
  output_tokens, cost_nano, cost_nano / 1e9 as cost_usd,
  possibly_billed_nano / 1e9 as possibly_billed_usd, run
from (select * from spend_totals union all select * from unsummed_spend);

-- Every reservation, settlement, presumption and reconciliation of money, as what it changes: their
-- sums are the balances. What was under way when the run ended, or was taken up again, is presumed.
create view ledger as
with made as (
  select run, seq, time, call, came, came_seq, came_time,
    json_extract(data, '$.call.model') as model,
    coalesce(json_extract(data, '$.call.quote.high'), 0) as quote,
    coalesce(json_extract(outcome, '$.cost.high'), 0) as cost,
    case came
      when 'Returned' then json_extract(outcome, '$.result.usage') is not null
      when 'Failed' then coalesce(json_extract(outcome, '$.failure.status'), 0) >= 400
    end as known
  from calls where kind = 'ModelCall'
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
from entries;

-- What is used of each ceiling in each of its windows, in its unit (USD, tokens, requests, failures).
-- What it allows is what the run that named it last has said: null when the events of all these
-- were removed, and what is used counts as USD then.
create view ceilings as
with said as (
  select ceiling as name, (
      select c.value
      from events e indexed by events_settings, json_each(e.data, '$.setting.ceilings') as c
      where e.type in ('Started', 'Resumed') and json_extract(c.value, '$.name') = b.ceiling
      order by e.time desc limit 1
    ) as data
  from (select distinct ceiling from balances) as b
),
newest as (
  select name, json_extract(data, '$.limit') as allowed,
    iif(data is null, null, coalesce(json_extract(data, '$.unit'), 'usd')) as unit,
    iif(data is null, null, coalesce(json_extract(data, '$.model'), '*')) as model
  from said
)
select ceiling, window, unit, model,
  allowed / scale as allowed, settled / scale as settled, reserved / scale as reserved,
  presumed / scale as presumed, (allowed - settled - reserved - presumed) / scale as remaining
from (select *, iif(coalesce(unit, 'usd') = 'usd', 1e9, 1) as scale from balances
  join newest on name = ceiling)
order by ceiling, window;
