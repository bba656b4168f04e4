/**
 * System calls that no program of a benchmark needs: those that leave memory behind which no limit counts, those that make
 * namespaces, and those through which kernels were broken. A classic BPF program, as `bwrap --seccomp` reads it.
 */

/** Numbers from the kernel's tables: [x86-64, arm64]. */
const REFUSED: Readonly<Record<string, readonly [x64: number, arm64: number]>> = {
  // memory that outlives its process and counts for none
  shmget: [29, 194],
  shmat: [30, 196],
  msgget: [68, 186],
  memfd_create: [319, 279],
  memfd_secret: [447, 447],
  // namespaces and mounts
  unshare: [272, 97],
  setns: [308, 268],
  chroot: [161, 51],
  pivot_root: [155, 41],
  mount: [165, 40],
  umount2: [166, 39],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  // other processes
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  // large parts of the kernel
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  open_by_handle_at: [304, 265],
};

interface Architecture {
  /** AUDIT_ARCH_*: what the kernel says a call was made in. */
  audit: number;
  /** Column of the table. */
  column: 0 | 1;
  clone: number;
  clone3: number;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: { audit: 0xc000003e, column: 0, clone: 56, clone3: 435 },
  arm64: { audit: 0xc00000b7, column: 1, clone: 220, clone3: 435 },
};

const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_AT_LEAST = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;

/** Offsets in `struct seccomp_data`: the call's number, its architecture, the low half of its first argument. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const FIRST_ARGUMENT = 16;

const CLONE_NEWUSER = 0x10000000;
/** Numbers from here on are the x32 calls of x86-64. */
const X32 = 0x40000000;

/** The filter for this machine; undefined for an architecture whose numbers are not in the table. */
export function seccompFilter(architecture: string = process.arch): Buffer | undefined {
  const found = ARCHITECTURES[architecture];
  if (found === undefined) return undefined;
  const { audit, column, clone, clone3 } = found;
  const answerIf = (jump: number, value: number, answer: number): Instruction[] => [
    [jump, 0, 1, value],
    [RETURN, 0, 0, answer],
  ];
  const program: Instruction[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [JUMP_EQUAL, 1, 0, audit],
    [RETURN, 0, 0, EPERM],
    [LOAD, 0, 0, NUMBER],
    ...answerIf(JUMP_AT_LEAST, X32, EPERM),
    ...Object.values(REFUSED).flatMap((numbers) => answerIf(JUMP_EQUAL, numbers[column], EPERM)),
    // Its flags lie in memory that a filter cannot read; the C library then takes clone.
    ...answerIf(JUMP_EQUAL, clone3, ENOSYS),
    [JUMP_EQUAL, 1, 0, clone],
    [RETURN, 0, 0, ALLOW],
    [LOAD, 0, 0, FIRST_ARGUMENT],
    ...answerIf(JUMP_ANY_BIT, CLONE_NEWUSER, EPERM),
    [RETURN, 0, 0, ALLOW],
  ];
  return Buffer.concat(program.map(encode));
}

/** Operation, lines to skip if true and if false, operand. */
type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, operand: number];

/** `struct sock_filter`; both architectures are little-endian. */
function encode([code, ifTrue, ifFalse, operand]: Instruction): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(operand, 4);
  return bytes;
}
