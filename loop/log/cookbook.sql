-- The questions of the cookbook, which examples/cookbook.md answers: each under its title. `:since` is an
-- ISO date or time, `:run` the id of a run.

-- How did the runs of each task end?
select task, outcome, count(*) as runs
from runs where started >= :since group by task, outcome;

-- Which prompt version is cheaper per accepted answer?
select task, label, runs, accepted, round(usd_per_accepted, 6) as usd_per_accepted
from tasks where task = 'promotion';

-- Which version is right at once more often?
select task, label, at_once_acceptance as at_once, acceptance, round(attempts, 2) as attempts
from tasks where task = 'promotion';

-- What did we spend each day?
select day, sum(model_calls) as model_calls, sum(input_tokens) as input, sum(output_tokens) as output,
  sum(cost_nano) / 1e9 as usd
from spend where day >= :since group by day;

-- What does each model cost, and for which task?
select model, task, sum(model_calls) as model_calls, sum(cost_nano) / 1e9 as usd
from spend where day >= :since group by model, task order by usd desc;

-- What did retries and escalations cost us this week?
select policy, sum(model_calls) as model_calls, sum(cost_nano) / 1e9 as usd
from spend
where policy <> '' and day >= :since
group by policy order by usd desc;

-- What do the judges cost, beside the answers?
select purpose, sum(model_calls) as model_calls, sum(cost_nano) / 1e9 as usd
from spend where day >= :since group by purpose order by usd desc;

-- Which run trees are the dearest, and how much of them was delegated?
select r.task, r.inputs, usd, delegated
from (
  select root, sum(cost_nano) / 1e9 as usd,
    sum(case when run <> root then cost_nano else 0 end) / 1e9 as delegated
  from spend where day >= :since group by root order by usd desc limit 4
) dearest join runs r on r.run = dearest.root
order by usd desc;

-- Which check rejects most, and was it worth trying again?
select "check", count(*) as rejections, count(distinct p.run) as runs,
  count(distinct case when outcome = 'accepted' then p.run end) as accepted_later
from runs r join problems p on p.run = r.run
where r.started >= :since and verdict = 'problem' group by "check" order by rejections desc;

-- How many attempts does an accepted answer take?
select attempts, count(*) as runs from runs
where started >= :since and outcome = 'accepted' and task = 'promotion' group by attempts;

-- Show me every tool call that a person approved.
select a.tool, a.arguments, a.by, t.state, t.result
from runs r join approvals a on a.run = r.run join tool_calls t on t.run = a.run and t.call = a.about
where r.started >= :since and a.answer = 'approve' and t.purpose = 'call' order by a.time;

-- What was denied, by whom, and why?
select tool, arguments, "by", note, waited_seconds / 3600 as hours
from runs join approvals using (run) where started >= :since and answer = 'deny';

-- What waits for a person now?
select time, policy, question from runs join approvals using (run)
where outcome = 'waiting' and answer is null and not withdrawn;

-- Which runs ended badly, and why?
select task, inputs, outcome, why from runs
where started >= :since and outcome not in ('accepted', 'waiting', 'open');

-- Which failures did the providers cause, and how much time did they take?
select m.model, failure, status, count(*) as calls, sum(m.seconds) as seconds
from runs r join model_calls m on m.run = r.run
where r.started >= :since and state = 'failed' group by m.model, failure;

-- Which policies speak, and what do they say?
select policy, decision, moment, count(*) as times
from runs join decisions using (run) where started >= :since and policy <> 'Otherwise'
group by policy, decision, moment order by times desc, policy, decision;

-- What happened in one run, step by step?
select step, model, model_calls as models, tool_calls as tools, seconds, cost_usd as usd, decided
from steps where run = :run order by step;

-- What was decided in it, and how much was spent by then?
select step, moment, policy, decision, why, settled_usd
from decisions where run = :run order by seq;

-- How full is each shared ceiling?
select ceiling, window, allowed, settled, reserved, presumed, remaining from ceilings;

-- How far above the bill are the quotes?
select m.model, count(*) as calls, sum(m.cost_nano) / 1e9 as paid,
  round(sum(m.cost_nano) / 1e9 / sum(quoted_usd), 2) as part_of_quote
from runs r join model_calls m on m.run = r.run
where r.started >= :since and state = 'returned' group by m.model;

-- How fast is each model?
select m.model, count(*) as calls, avg(m.seconds) as seconds, max(m.seconds) as slowest,
  round(sum(output_visible + output_reasoning) / sum(m.seconds)) as tokens_a_second
from runs r join model_calls m on m.run = r.run
where r.started >= :since and state = 'returned' group by m.model;

-- Which tools are used, and how often was the result still good?
select tool, effect, count(*) as calls, sum(cached) as cached, sum(state = 'failed') as failed
from runs join tool_calls using (run) where started >= :since and purpose = 'call' group by tool;

-- How much of the input came out of the providers' caches?
select m.model, sum(input_uncached + cache_read + cache_write) as input,
  sum(cache_read) as from_cache
from runs r join model_calls m on m.run = r.run where r.started >= :since group by m.model;

-- What was said in one run?
select role, text from messages where run = :run order by seq, text;

-- Where was it said?
select run, role, snippet(said, 0, '[', ']', '…', 5) as piece
from said where said match 'sun OR dance' order by rank;
