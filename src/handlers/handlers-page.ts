/** docs/handlers.md, rendered from the manifests so that it cannot say anything else than what the code does. */
import type { TSchema } from '#vendor/typebox.js';
import type { HandlerType } from '../contracts/handler-type.js';

const HEAD = `# Handlers

A service is a chain of handlers. Each has a type, named in files by its id, its name, or the name that the reference uses.
This page is written from the manifests in \`src/handlers\`; after changing one, run
\`npm run docs\`.

Ports carry one payload type each: \`frame\` (raw RGB), \`jpeg\` (a compressed picture), \`boxes\` (detections, with crops) or
\`bytes\`. A handler with several inputs joins them by sequence number. Costs are per packet on a node of speed 1 with one
thread, for pictures of 1280 x 853 with three or four faces; nodes measure the real ones while they run, and a file in
\`handler_type_path\` can declare others (\`resources/handler_types/detect_object.json\` shows how). \`own\` handlers have a subprocess of their own, \`shared\` ones live in
that of a neighbour. A parameter that a type does not know is dropped with a warning; \`tresh\` is taken for \`thresh\`.
`;

const BOXES = `
## Boxes

A box is \`label\`, \`prob\` (0..1), \`x\`, \`y\`, \`w\`, \`h\` in pixels of the frame and, unless \`with_crop\` is false, a crop: the box
with a quarter of its width and height around it, its longer side at most 320 px. \`note\` says why a face has no name (for
example \`too small to recognize\`).

Detectors take a frame, or boxes and then look into the crop of each: what they find gets their own label and its position in
the frame. align keeps position and label. Recognisers keep the position and set the label: the name of the nearest
face in the gallery, else \`unknown\`; without a gallery the label stays. \`prob\` stays the detector's.
\`multiple: false\` keeps the best box of a frame only.

\`attributes\` are facts by name beside the label, numbers or texts: describe_face adds \`age\` (years), \`gender\` with \`gender_prob\`,
\`live\` and \`real\` (0..1) to those that are there. Draw handlers write them behind the label and hand them on, \`boxes.jsonl\`
and pages show them.

A crop is small because it travels between nodes. Objects smaller than the frame by far are found better in the
frame than in a crop.
`;

const CAPTURE = `
## Sources

Video files, streams and cameras are read by the \`ffmpeg\` program of the node, a supervised subprocess; without it they are
refused by name. A source must be allowed on its node (\`[sources] allow\`, or \`up --allow\`): directories,
devices (\`/dev/video0\`) and addresses by their beginning (\`rtsp://cam-1\`, \`http://10.0.0.5:8080/\`).

- Frame n of a **file** has sequence n, also after a restart; its end is the end of the session. \`fps\` thins it out and paces
  it, 0 reads it as fast as it is worked on. A file that breaks off gives what it holds, then a sequence that is
  accounted as an error with ffmpeg's words.
- A **stream** (\`rtsp://\`, \`http://\`: MJPEG, MPEG-TS and others; no playlists) or **camera** is live. When it breaks off, or gives nothing
  for \`stall_s\`, it is opened again after pauses that grow to 10 s, as long as the session runs; nothing else restarts. One
  that is not there yet at the start is waited for in the same way. A video file behind \`http://\` is read like a file.
- **Pictures** are read by the handler itself.
`;

const RENDER = `
## What render writes and shows

In the session's output directory (below it, with \`output\`): \`000012.jpg\`, the annotated frame of sequence 12, and
\`boxes.jsonl\`, one line per sequence in order:

    {"input":"pics/a.jpg","sequence":12,"boxes":[{"label":"Ada","prob":0.98,"x":100,"y":50,"w":120,"h":140}],"latency_ms":41.3}
    {"sequence":13,"dropped":"queue","handler_id":4}

Each sequence has exactly one line, also when the process was killed in between (\`delivery: all\`): the line is written after
the frame's file, a torn last line is cut off at the next start, and what is sent again is not recorded again. Lines
outlive the process at once; they are forced to the disk when the stream ends, so a power failure can cost the last ones.
Nothing grows without bound: \`frames_max\`, \`boxes_mb_max\`, \`video_mb_max\` and \`videos_max\` hold per session, and
\`outputs_mb\` of the node for all of its sessions.

Pages, at the node under \`/v1/sessions/ID/handlers/HANDLER/pages/\`: \`index.html\` (the stream with fps and boxes),
\`stream.mjpeg\` (16 viewers at most; a slow one sees fewer frames and holds up nothing), \`frame.jpg\`, \`boxes.json\` (the
latest line and fps) and \`boxes.jsonl\`.

With \`video\` the frames are also recorded as an MP4 that can be played whenever the writer dies (a restart goes on in
the next file). With \`webhook\` the lines of \`boxes.jsonl\` are posted to an address
that the node allows (\`application/x-ndjson\`, up to 200 lines a request); while it is away 18 000 lines wait for it.
`;

const EXTERNAL = `
## External handlers

The four \`external_...\` types have no code: each packet goes to a program in any language that has joined at
\`GET /v1/sessions/ID/handlers/HANDLER/worker\`, and what it answers is emitted ([links.md](links.md#programs-that-work-for-a-handler)
has the contract, [examples/python-handler](../examples/python-handler/README.md) a program). There is one type for each
payload that may be emitted, because ports have their type before a session starts.

The handler keeps every packet until it is answered. When a program ends, what it had in hand goes to another one, or
waits for the next that joins: under \`all\` nothing is lost and the source is held back meanwhile; under \`latest\`
packets wait a second for a program to come back, and then end as \`queue\` drops that say where a program can join. Up to
16 programs may share the work of one handler (each packet goes to the one with the fewest in hand); one more is refused with
409. Results leave in order. \`orchestrator session show\` says when a handler waits for a program.

With \`command\` the handler's host starts the program itself, tells it in \`ORCHESTRATOR_NODE\`, \`ORCHESTRATOR_SESSION\` and
\`ORCHESTRATOR_HANDLER\` where to join, starts it again when it ends, and takes it along when it ends itself.
`;

const STAND_INS = `
## Types of the reference that run on other weights

The weights of these types are in no npm package that is installed with this one, or their licence does not allow any use. Each
runs on a model of its kind;
\`model\` can name another of the catalogue, or an imported one ([models](models.md)).

| id | name | runs on by default |
| --- | --- | --- |
| 7 | YoloDetectObject | \`centernet\`; import a YOLO of your own |
| 10 | MmodDetectFace | dlib's own net after \`orchestrator models import mmod\`, before it \`ssd_mobilenetv1\` |
| 12 | MtcnnDetectFaceAlign | MTCNN after \`orchestrator models import mtcnn\`, before it \`ssd_mobilenetv1\`; then \`face_landmark_68\` |
| 14 | OpenfaceRecognize | \`face_recognition\` |
| 15 | FacenetRecognize | \`faceres\` |

HogDetectFace is dlib itself, where \`orchestrator models build-hog\` has built it (Debian: \`g++ libdlib-dev\`, some 15 s); elsewhere
it is refused by name. HaarDetectFace is OpenCV itself (the optional package \`opencv-wasm\`) with the cascades of OpenCV's data (Debian:
\`opencv-data\`); without either it is refused by name. \`config\`, \`weights\`, \`labels\` and
\`hier_thresh\` of the reference's files are accepted and ignored.
`;

const SHARING = `
## Models that sessions share

Each handler loads its own models, unless its service says \`share\`: then a node loads each model once, in a process of its
own, for all sessions that run it there with \`share\`. What is found is the same. It saves the memory of every further
session and costs turns: one inference at a time, on the threads that \`[node] threads\` gives it (\`session explain\` says how many and why).

\`"share": true\` stands in a service file, for every handler whose type can share; at one handler, whose word counts (\`false\`
takes it out); or in a file in \`handler_type_path\`, for handlers of that type in services that do not say. Types without
a model of their own refuse it by name (\`SHARE_UNSUPPORTED\`); the tables below say which can.

Sessions take turns, one request each. Where the net takes several pictures (all but blazeface and centernet), those of one
size that wait share an inference, \`[node] share_batch\` and 262 144 pixels at most (two of 512 x 512 would gain nothing); \`share_wait_ms\` lets an inference wait for more, never
beyond what a deadline leaves. A packet whose deadline passes in the queue is \`late\`, and not run. When the process
dies it is started again, and its handlers stay: under \`all\` it runs again what was in it (one packet five times at most), under
\`latest\` that counts as \`failover\`. It ends with the last handler that holds its model. Reports count its CPU
where it was spent, its memory in equal parts; \`session show\` names process and holders.
`;

/** The whole page, in Markdown. */
export function handlersPage(types: readonly HandlerType[]): string {
  const table = types.map(
    (type) =>
      `| ${type.handler_type_id} | [\`${type.handler_type_name}\`](#${type.handler_type_name}) | ${names(type.aliases)} | ${inputs(type)} | ${outputs(type)} | ${type.host} |`,
  );
  const overview = ['| id | name | also | in | out | host |', '| --- | --- | --- | --- | --- | --- |', ...table].join(
    '\n',
  );
  return `${[
    HEAD,
    overview,
    BOXES,
    CAPTURE,
    RENDER,
    EXTERNAL,
    SHARING,
    STAND_INS,
    '\n## Parameters',
    ...types.map(section),
  ]
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trimEnd()}\n`;
}

function section(type: HandlerType): string {
  const { cpu_ms, gpu_ms, mem_mb, out_bytes } = type.cost;
  const sharing = type.share === undefined ? '' : ' Can share its models.';
  const cost = `Default cost: ${cpu_ms} ms CPU${gpu_ms > 0 ? `, ${gpu_ms} ms GPU` : ''}, ${mem_mb} MiB, ${out_bytes} bytes out.${sharing}`;
  const rows = Object.entries(propertiesOf(type.params)).map(
    ([name, schema]) => `| \`${name}\` | ${typeText(schema)} | ${defaultText(schema)} | ${schema.description ?? ''} |`,
  );
  const table =
    rows.length === 0
      ? ['No parameters.']
      : ['| parameter | type | default | meaning |', '| --- | --- | --- | --- |', ...rows];
  return ['', `### ${type.handler_type_name}`, '', `${type.description}. ${cost}`, '', ...table].join('\n');
}

interface ParamSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly ParamSchema[];
  readonly items?: ParamSchema;
}

function propertiesOf(params: TSchema | null): Record<string, ParamSchema> {
  return (params as { properties?: Record<string, ParamSchema> } | null)?.properties ?? {};
}

function typeText(schema: ParamSchema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' or ');
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}`;
  return `${schema.type ?? 'any'}${range(schema)}`;
}

function range({ minimum, maximum }: ParamSchema): string {
  if (minimum !== undefined && maximum !== undefined) return ` ${minimum} to ${maximum}`;
  return minimum === undefined ? '' : ` >= ${minimum}`;
}

function defaultText(schema: ParamSchema): string {
  return schema.default === undefined ? '' : `\`${JSON.stringify(schema.default)}\``;
}

function names(aliases: readonly string[]): string {
  return aliases.map((alias) => `\`${alias}\``).join(', ');
}

function inputs({ inputs: ports }: HandlerType): string {
  return ports.map((port, index) => `${index}: ${port.accepts.join(' or ')}`).join(', ') || '-';
}

function outputs({ outputs: ports }: HandlerType): string {
  return ports.map((port) => port.emits).join(', ') || '-';
}
