/** A session of one node that finds something in pictures, and what its sink has written of it. */
import type { BlueprintHandler, NodeSession } from '../contracts/blueprint.js';
import type { BoxRecord } from '../contracts/packet.js';
import { handler, type TestAgent } from './agent.testing.js';

export interface DetectSession {
  readonly session_id: number;
  /** Handler 2: frames in, boxes out. */
  readonly detect: BlueprintHandler;
  readonly source: string;
  readonly width?: number;
  readonly loop?: boolean;
  readonly fps?: number;
  readonly given?: Partial<NodeSession>;
}

/** capture 1 -> detect 2 -> draw 3 -> render 4, and the frame to draw as well; under `all` when not said. */
export function detectSession(wanted: DetectSession): NodeSession {
  const { session_id, detect, source, width = 640, loop = false, fps = 0, given } = wanted;
  const link = (source_handler: number, target_handler: number, target_input = 0) => ({
    ...{ source_handler, source_output: 0, target_handler, target_input, source_node: 1, target_node: 1 },
  });
  return {
    ...{ session_id, epoch: 1, generation: 1, desired: 'running', node_id: 1, delivery: 'all' },
    handlers: [
      handler(1, 2, { source, width, loop, fps }),
      detect,
      handler(3, 16),
      handler(4, 3, { write_frames: false }),
    ],
    links: [link(1, 2), link(1, 3), link(2, 3, 1), link(3, 4)],
    ...given,
  };
}

export interface BoxesLine {
  readonly sequence: number;
  readonly boxes?: readonly BoxRecord[];
  readonly dropped?: string;
}

/** What its sink has written; nothing before the first. */
export async function boxesLines(agent: TestAgent, session_id: number): Promise<BoxesLine[]> {
  const answer = await fetch(`${agent.url}/v1/sessions/${session_id}/handlers/4/pages/boxes.jsonl`);
  const text = await answer.text();
  return answer.ok
    ? text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as BoxesLine)
    : [];
}
