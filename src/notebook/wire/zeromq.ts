/** The little of zeromq.js that we use, so that the library builds where its optional package is absent. */
import { requireOptional } from "../optional.js";

type Frames = (Uint8Array | string)[];

export interface Socket {
  linger: number;
  bind(address: string): Promise<void>;
  connect(address: string): void;
  close(): void;
}
export interface Sender extends Socket {
  sendHighWaterMark: number;
  sendTimeout: number;
  send(frames: Frames): Promise<void>;
}
export interface Receiver extends Socket, AsyncIterable<Uint8Array[]> {
  receiveHighWaterMark: number;
}

export interface Zeromq {
  Publisher: new () => Sender;
  Router: new () => Sender & Receiver;
  Reply: new () => Sender & Receiver;
  Dealer: new () => Sender & Receiver;
  Subscriber: new () => Receiver & { subscribe(...topics: string[]): void };
}

/** @throws MoescopeError NATIVE_UNAVAILABLE where the package is absent or has no build for this machine */
export function zeromq(): Zeromq {
  return requireOptional<Zeromq>("zeromq");
}
