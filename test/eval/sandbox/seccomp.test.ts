import { describe, expect, it } from "vitest";
import { seccompFilter } from "../../../src/eval/sandbox/seccomp.js";

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const X64 = 0xc000003e;
const ARM64 = 0xc00000b7;

/** What the kernel would answer: a machine for the few instructions of classic BPF that a filter here may use. */
function answer(filter: Buffer, call: { nr: number; arch: number; args?: number[] }): number {
  const data = new Map([
    [0, call.nr],
    [4, call.arch],
    [16, call.args?.[0] ?? 0],
  ]);
  let value = 0;
  for (let line = 0; line < filter.length / 8; line++) {
    const at = line * 8;
    const [code, ifTrue, ifFalse, k] = [
      filter.readUInt16LE(at),
      filter[at + 2]!,
      filter[at + 3]!,
      filter.readUInt32LE(at + 4),
    ];
    if (code === 0x06) return k;
    if (code === 0x20) value = data.get(k)!;
    else {
      const holds = { 21: value === k, 53: value >= k, 69: (value & k) !== 0 }[code];
      if (holds === undefined) throw new Error(`instruction ${code}`);
      line += holds ? ifTrue : ifFalse;
    }
  }
  throw new Error("the filter ended without an answer");
}

describe("the system-call filter", () => {
  it.each([
    [
      "x64",
      X64,
      { read: 0, clone: 56, clone3: 435, unshare: 272, ptrace: 101, bpf: 321, mount: 165, shmget: 29, keyctl: 250 },
    ],
    [
      "arm64",
      ARM64,
      { read: 63, clone: 220, clone3: 435, unshare: 97, ptrace: 117, bpf: 280, mount: 40, shmget: 194, keyctl: 219 },
    ],
  ])("lets a program compute and refuses the rest: %s", (name, arch, { read, clone, clone3, ...refused }) => {
    const filter = seccompFilter(name)!;
    expect(answer(filter, { nr: read, arch })).toBe(ALLOW);
    for (const [call, nr] of Object.entries(refused)) expect(answer(filter, { nr, arch }), call).toBe(EPERM);
    expect(answer(filter, { nr: clone3, arch })).toBe(ENOSYS);
    expect(answer(filter, { nr: clone, arch, args: [0x00000011] })).toBe(ALLOW);
    expect(answer(filter, { nr: clone, arch, args: [0x10000011] })).toBe(EPERM);
    expect(answer(filter, { nr: 0x40000000 + read, arch })).toBe(EPERM);
  });

  it("refuses every call made in another architecture", () => {
    expect(answer(seccompFilter("x64")!, { nr: 3, arch: 0x40000003 })).toBe(EPERM);
    expect(answer(seccompFilter("arm64")!, { nr: 0, arch: X64 })).toBe(EPERM);
  });

  it("is not made for an architecture that is not in its table", () => {
    expect(seccompFilter("riscv64")).toBeUndefined();
  });
});
