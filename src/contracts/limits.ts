/** Bounds that both ends of a wire must agree on, with the reason for each. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Metadata of one packet as JSON, bytes: thousands of boxes fit, a runaway handler does not. */
export const METADATA_BYTES_MAX = 1 * MiB;

/** Payload of one packet, bytes: a raw 8K RGB frame (7680 x 4320 x 3 = 95 MiB) fits. */
export const PAYLOAD_BYTES_MAX = 128 * MiB;

/** One packet posted by HTTP (a picture from curl), bytes. */
export const POST_PACKET_BYTES_MAX = 32 * MiB;

/** Body of a control request (blueprints, sessions), bytes. */
export const CONTROL_BODY_BYTES_MAX = 1 * MiB;

/** Body of a report after decompression, bytes; a reporter splits larger ones. */
export const REPORT_BODY_BYTES_MAX = 16 * MiB;

/** Packets that one link may have sent and not yet seen acknowledged. */
export const LINK_WINDOW_PACKETS = 64;

/**
 * Small packets may be more: up to so many while they are within LINK_WINDOW_SMALL_BYTES together. At 1 KB, 64 of them are
 * on the way for a tenth of a millisecond, and a link that waits for acks that often carries a third of what TCP does.
 */
export const LINK_WINDOW_SMALL_PACKETS = 512;
export const LINK_WINDOW_SMALL_BYTES = 1 * MiB;

/** Bytes that one link may have sent and not yet seen acknowledged; 64 raw 640x480 frames. One packet may always go. */
export const LINK_WINDOW_BYTES = 64 * MiB;

/** Packets written and not yet received under `latest`: 200 ms of round trip at 60 fps, and little enough to stay fresh. */
export const LATEST_WINDOW_PACKETS = 16;

/** Packets waiting at one input under `latest`: enough to ride out jitter, little enough to stay fresh. */
export const LATEST_QUEUE_PACKETS = 4;

/**
 * One body of a probe between two nodes, bytes: what a path of 100 Mbit/s and 40 ms needs before a connection is at its
 * speed. Probes begin with a sixteenth of it and stop as soon as that took long enough to tell.
 */
export const PROBE_BYTES_MAX = 4 * MiB;

/** Everything that one probe does, ms; a path of 1 Mbit/s carries the first body within it. */
export const PROBE_TIME_MS_MAX = 5_000;

/** Time that init / prepare may take until every handler has loaded its model, ms (the reference's 30 s). */
export const PREPARE_TIMEOUT_MS = 30_000;

/** Pictures larger than this are refused before they are decoded, pixels (20 000 x 20 000 would take 1.2 GB raw). */
export const PICTURE_PIXELS_MAX = 100_000_000;

/** Handlers of one service or blueprint. */
export const HANDLERS_MAX = 64;
