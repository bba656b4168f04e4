import { readSync, writeSync } from "node:fs";
import { Fd, Inode, wasi } from "@bjorn3/browser_wasi_shim";

/** What a program may read or write at once: a buffer of its choosing would be memory of ours. */
const MOST_BYTES = 65_536;

/** A descriptor of this process as one of the module's: a pipe, whatever it is. */
export class PipeFd extends Fd {
  #descriptor;

  /** @param {number} descriptor */
  constructor(descriptor) {
    super();
    this.#descriptor = descriptor;
  }

  fd_fdstat_get() {
    return { ret: wasi.ERRNO_SUCCESS, fdstat: new wasi.Fdstat(wasi.FILETYPE_UNKNOWN, 0) };
  }

  fd_filestat_get() {
    return { ret: wasi.ERRNO_SUCCESS, filestat: new wasi.Filestat(0n, wasi.FILETYPE_UNKNOWN, 0n) };
  }

  fd_prestat_get() {
    return { ret: wasi.ERRNO_BADF, prestat: null };
  }

  fd_seek() {
    return { ret: wasi.ERRNO_SPIPE, offset: 0n };
  }

  fd_tell() {
    return { ret: wasi.ERRNO_SPIPE, offset: 0n };
  }

  /** @param {number} size */
  fd_read(size) {
    const data = new Uint8Array(Math.min(size, MOST_BYTES));
    try {
      return { ret: wasi.ERRNO_SUCCESS, data: data.subarray(0, readSync(this.#descriptor, data)) };
    } catch {
      return { ret: wasi.ERRNO_IO, data: new Uint8Array() };
    }
  }

  /** @param {Uint8Array} data */
  fd_write(data) {
    try {
      return {
        ret: wasi.ERRNO_SUCCESS,
        nwritten: writeSync(this.#descriptor, data, 0, Math.min(data.length, MOST_BYTES)),
      };
    } catch {
      return { ret: wasi.ERRNO_IO, nwritten: 0 };
    }
  }
}

/** A name for a descriptor, which can be opened so many times: by the harness's own code, before that of a program runs. */
export class Line extends Inode {
  #descriptor;
  #opensLeft;

  /** @param {number} descriptor @param {number} opens */
  constructor(descriptor, opens) {
    super();
    this.#descriptor = descriptor;
    this.#opensLeft = opens;
  }

  path_open() {
    if (this.#opensLeft === 0) return { ret: wasi.ERRNO_PERM, fd_obj: null };
    this.#opensLeft--;
    return { ret: wasi.ERRNO_SUCCESS, fd_obj: new PipeFd(this.#descriptor) };
  }

  stat() {
    return new wasi.Filestat(this.ino, wasi.FILETYPE_CHARACTER_DEVICE, 0n);
  }
}

const CLOCK_SUBSCRIPTION_BYTES = 48;
const EVENT_BYTES = 32;

/**
 * Imports that sleep where the shim's turn in a circle, and that refuse sockets where the shim's throw.
 *
 * @param {Record<string, (...args: any[]) => any>} imports
 * @param {() => WebAssembly.Memory} memory
 */
export function withoutWaste(imports, memory) {
  const notASocket = () => wasi.ERRNO_NOTSOCK;
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  return {
    ...imports,
    sock_accept: notASocket,
    sock_recv: notASocket,
    sock_send: notASocket,
    sock_shutdown: notASocket,
    /** Waits for the first of several clocks; descriptors are always ready, as pipes that block are. */
    poll_oneoff(inPointer, outPointer, count, numEventsPointer) {
      const view = new DataView(memory().buffer);
      const most = Math.min(count, 64);
      let first = { ns: Number.POSITIVE_INFINITY, at: inPointer };
      for (let i = 0; i < most; i++) {
        const at = inPointer + i * CLOCK_SUBSCRIPTION_BYTES;
        const ns = view.getUint8(at + 8) === wasi.EVENTTYPE_CLOCK ? nanoseconds(view, at) : 0;
        if (ns < first.ns) first = { ns, at };
      }
      if (most === 0 || !Number.isFinite(first.ns)) return wasi.ERRNO_INVAL;
      if (first.ns > 0) Atomics.wait(sleeper, 0, 0, first.ns / 1e6);
      new Uint8Array(memory().buffer).fill(0, outPointer, outPointer + EVENT_BYTES);
      view.setBigUint64(outPointer, view.getBigUint64(first.at, true), true);
      view.setUint8(outPointer + 10, view.getUint8(first.at + 8));
      view.setUint32(numEventsPointer, 1, true);
      return wasi.ERRNO_SUCCESS;
    },
  };
}

/** @param {DataView} view @param {number} at of a subscription to a clock. @returns time to wait, not below 0. */
function nanoseconds(view, at) {
  const timeout = Number(view.getBigUint64(at + 24, true));
  const isMoment = (view.getUint16(at + 40, true) & wasi.SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME) !== 0;
  if (!isMoment) return timeout;
  const isRealTime = view.getUint32(at + 16, true) === wasi.CLOCKID_REALTIME;
  return Math.max(0, timeout - (isRealTime ? Date.now() : performance.now()) * 1e6);
}
