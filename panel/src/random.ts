/** Random bytes as hex digits. `crypto.randomUUID` is missing where the page is not served by HTTPS. */
export function randomHex(bytes: number): string {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
