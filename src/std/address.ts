/** An address (`rtsp://cam/live`), told from a path by its scheme. */
export function isAddress(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}
