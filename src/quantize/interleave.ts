/** The order of q and k rows in GGUF files of architecture `llama`. */

/**
 * Rows of whole heads, reordered so that a rope that turns neighbours does what one that turns the halves of a head did: of each
 * head, row i of the first half goes to 2i, row i of the second half to 2i + 1.
 */
export function interleaveHalves(rows: Uint8Array, rowBytes: number, headRows: number): Uint8Array {
  const result = new Uint8Array(rows.length);
  const half = headRows / 2;
  for (let row = 0; row * rowBytes < rows.length; row++) {
    const inHead = row % headRows;
    const target = row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
    result.set(rows.subarray(row * rowBytes, (row + 1) * rowBytes), target * rowBytes);
  }
  return result;
}
