/**
 * An allocation algorithm of one's own: packs sessions onto as few nodes as possible, so that the others may sleep.
 * A module whose default export is `{ name, plan(fleet, options) }`; `fleet` is src/allocation/fleet/model.ts.
 *
 *   orchestrator plan fleet.json --algorithm ./examples/allocator/pack.mjs
 *   [coordinator] allocator = examples/allocator/pack.mjs
 *
 * `options.held` has the sessions that stay where they are. Whatever it answers is held to the verifier.
 */
export default {
  name: 'pack',
  plan(fleet, { held = new Set() }) {
    const used = new Float64Array(fleet.resourceCount);
    const sessions = [];
    const refused = [];
    const take = (found) => {
      for (const [resource, amount] of found.needs) used[resource] += amount;
      sessions.push(found.planned);
    };
    const isHeld = ({ session }) => held.has(session.session_id) && session.previous !== undefined;
    for (const task of fleet.tasks.filter(isHeld)) take(asItIs(fleet, task));
    for (const task of fleet.tasks.filter((one) => !isHeld(one))) {
      const found = place(fleet, task, used);
      if (found === null)
        refused.push({ session_id: task.session.session_id, reason: 'no node has room for all of it' });
      else take(found);
    }
    const byId = (a, b) => a.session_id - b.session_id;
    return { algorithm: 'pack', sessions: sessions.sort(byId), refused: refused.sort(byId), moved: 0, utility: 0 };
  },
};

/** Handlers that may choose all go to one node, the fullest that has room; the most accurate variant first. */
function place(fleet, task, used) {
  const fullestFirst = fleet.nodes.map((_, node) => node).sort((a, b) => used[b] - used[a] || a - b);
  for (const graph of task.graphs) {
    const rank = (at) => [...optionsOf(graph, at)].sort((a, b) => fleet.lnAccuracy[b] - fleet.lnAccuracy[a]);
    const ranks = graph.handlers.map((_, at) => rank(at));
    const steps = Math.max(...ranks.map((one) => one.length));
    for (let step = 0; step < steps; step++) {
      const options = ranks.map((one) => one[Math.min(step, one.length - 1)]);
      for (const node of fullestFirst) {
        const nodes = options.map((option) => nodeFor(fleet, task, option, node));
        const found = nodes.includes(-1) ? null : appraise(fleet, task, graph, options, nodes);
        if (found !== null && keepsPromises(task, found.planned) && hasRoom(fleet, used, found.needs)) return found;
      }
    }
  }
  return null;
}

function* optionsOf(graph, at) {
  for (let index = 0; index < graph.optionCount[at]; index++) yield graph.firstOption[at] + index;
}

/** The node that is wanted, else the only one that there is; -1 when neither will do. */
function nodeFor(fleet, task, option, wanted) {
  const may = (node) =>
    fleet.possible[option * fleet.nodeCount + node] === 1 &&
    (fleet.atSource[option] === 0 || node === task.source) &&
    (task.stay === null || task.stay[node] === 1);
  if (may(wanted)) return wanted;
  const others = fleet.nodes.map((_, node) => node).filter(may);
  return others.length === 1 ? others[0] : -1;
}

const keepsPromises = (task, planned) =>
  planned.latency_ms <= task.latencyMsMax && Math.log(planned.accuracy) >= task.lnAccuracyMin;

const hasRoom = (fleet, used, needs) =>
  [...needs].every(([resource, amount]) => used[resource] + amount <= fleet.capacity[resource]);

/** What a placement takes of each resource, how long it takes and how accurate it is. */
function appraise(fleet, task, graph, options, nodes) {
  const needs = new Map();
  const need = (resource, amount) => {
    if (amount > 0) needs.set(resource, (needs.get(resource) ?? 0) + amount);
  };
  const done = [];
  let lnAccuracy = graph.lnAccuracy;
  options.forEach((option, at) => {
    const node = nodes[at];
    const cell = option * fleet.nodeCount + node;
    let arrival = 0;
    for (const feed of graph.feeds[at]) {
      const bytes = fleet.bytes[options[feed] * fleet.nodeCount + nodes[feed]];
      arrival = Math.max(arrival, done[feed] + fleet.linkMs(nodes[feed], node, bytes));
      if (nodes[feed] === node) continue;
      for (const link of links(fleet, nodes[feed], node)) need(link, (task.fps * bytes * 8) / 1e6);
    }
    done[at] = arrival + fleet.stageMs(option, node, task.fps);
    lnAccuracy += fleet.lnAccuracy[option];
    need(node, task.fps * fleet.cpuMs[cell]);
    need(fleet.gpuAt + node, task.fps * fleet.gpuMs[cell]);
    need(fleet.memAt + node, fleet.memMb[option] + fleet.modelMb[option]);
  });
  const placement = graph.handlers.map(({ handler_id, alternatives }, at) => ({
    handler_id,
    node_id: fleet.nodes[nodes[at]].node_id,
    alternative: alternatives[options[at] - graph.firstOption[at]].name,
  }));
  const { session_id } = task.session;
  const planned = {
    session_id,
    variant: graph.variant.variant_name,
    accuracy: Math.exp(lnAccuracy),
    latency_ms: Math.max(...done),
    placement,
  };
  return { planned, needs };
}

/** The links that packets from node to node go over. */
function links(fleet, from, to) {
  const path = fleet.pathOf.get(from * fleet.nodeCount + to);
  const ends = [fleet.upAt + from, fleet.downAt + to];
  if (path !== undefined) return [...ends, fleet.pathAt + path];
  const [out, into] = [fleet.site[from], fleet.site[to]];
  return out === into ? ends : [...ends, fleet.wanUpAt + out, fleet.wanDownAt + into];
}

function asItIs(fleet, task) {
  const { previous, previous_variant: name } = task.session;
  const graph =
    task.graphs.find(({ variant }) => variant.variant_name === name) ??
    task.graphs.find(({ handlers }) => handlers.length === previous.length);
  const places = graph.handlers.map(({ handler_id }) => previous.find((one) => one.handler_id === handler_id));
  const options = places.map(
    ({ alternative }, at) =>
      graph.firstOption[at] + graph.handlers[at].alternatives.findIndex((one) => one.name === alternative),
  );
  return appraise(
    fleet,
    task,
    graph,
    options,
    places.map(({ node_id }) => fleet.nodeIndex.get(node_id)),
  );
}
