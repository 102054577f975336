/**
 * How the subprocesses of the agent use memory, by environment variables of glibc's malloc (others do not know them). By
 * itself it gives what is larger than some MiB back to the system when it is freed, and lets each of libvips' threads keep
 * an arena of its own: each frame then comes from pages that the kernel has to clear first, which on a virtual machine can take
 * longer than to decode it, and finds none of the last one's.
 */

const MIB = 2 ** 20;

/** A frame of 4K video, 3840 x 2160 x 3 bytes, is 23.7 MiB. */
const FRAME_BYTES = 32 * MIB;

/** Of a process through which frames pass: one arena, in which a frame takes the place of one that has gone. */
export const FRAMES_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(FRAME_BYTES),
  /** Free at its end, bytes; what is more goes back. */
  MALLOC_TRIM_THRESHOLD_: String(FRAME_BYTES),
};

/**
 * Of a process with a model alone: pictures of about a MiB come in, ONNX Runtime keeps its own activations, and some 40 MiB
 * that loading the model took go back.
 */
export const MODEL_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(MIB),
  MALLOC_TRIM_THRESHOLD_: String(MIB),
};
