/** What the thread that runs cells and the thread that holds the sockets say to each other. */

/** The header of a Jupyter message. */
export interface Header {
  msg_id: string;
  msg_type: string;
  session: string;
  username: string;
  date: string;
  version: string;
}

export type Content = Record<string, unknown>;

/** A request of a client: `identities` say where its reply goes. */
export interface Request {
  channel: "shell" | "control" | "stdin";
  identities: Uint8Array[];
  header: Header;
  content: Content;
}

/** From the cells' thread to the sockets. Order is kept. */
export type Outgoing =
  | { kind: "publish"; msgType: string; content: Content; parent: Header | undefined }
  /** Text of stdout or stderr; consecutive pieces become one message. */
  | { kind: "stream"; name: "stdout" | "stderr"; text: string; parent: Header }
  | { kind: "reply"; msgType: string; content: Content; request: Pick<Request, "channel" | "identities" | "header"> }
  /** The interrupt or the ping of this number was heard. */
  | { kind: "heard"; id: number }
  /** Nothing comes after this: the thread sends what is left, closes its sockets and ends. */
  | { kind: "close" };

/** From the sockets to the cells' thread. */
export type Incoming =
  | { kind: "ready" }
  | { kind: "request"; request: Request }
  | { kind: "interrupt" | "ping"; id: number }
  /** The kernel shall end; `reply` answers the request, if one asked for it. */
  | { kind: "shutdown"; restart: boolean; request?: Request };

/** The connection file that Jupyter writes. */
export interface Connection {
  transport: string;
  ip: string;
  key: string;
  signature_scheme: string;
  shell_port: number;
  iopub_port: number;
  stdin_port: number;
  control_port: number;
  hb_port: number;
}

/** Slots of the memory that both threads see. */
export const SHARED_PHASE = 0;
/** How many interrupts were asked for. */
export const SHARED_INTERRUPT = 1;
/** How many cells were started: the cell that runs, or ran last. */
export const SHARED_CELL = 2;
export const SHARED_SLOTS = 3;

/** What the cells' thread does. A compiler that is broken off leaves its program in pieces and is replaced, so it is given more time. */
export const PHASE_IDLE = 0;
export const PHASE_COMPILING = 1;
export const PHASE_RUNNING = 2;
