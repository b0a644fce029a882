import type { App, Launched as LaunchedParams } from './app.js';
import type { DeniedReason } from './errors.js';
import type { Level } from './log.js';
import type { Json } from './json.js';

export interface FakeHostOptions {
  /** What the clock says, in milliseconds since 1970. */
  now?: number;
  /** Where the random numbers start. */
  seed?: number;
  quotaBytes?: number;
  currency?: string;
}

/** A host in memory, for tests. The last one created is the one that the wrappers talk to. */
export class FakeHost {
  constructor(options?: FakeHostOptions);
  /** What the app wrote to its log. */
  readonly logs: { level: Level; message: string }[];
  /** What it published. */
  readonly published: { topic: string; data: any; id: string }[];
  readonly subscriptions: Set<string>;
  /** Prefixes of storage keys that it watches. */
  readonly watched: Set<string>;
  /** Timers that it has set. A test makes one fire by notifying `timers.fired`. */
  readonly timers: Map<string, { after_ms: number; every_ms?: number }>;
  /** Notifications it showed. */
  readonly notifications: { title: string; body: string; id: string }[];
  /** Payments it asked for. */
  readonly payments: { amount_minor: number; currency: string; reference: string }[];
  /** Every call that arrived, allowed or not. */
  readonly calls: { method: string; params: any }[];
  /** The currency of the Super App's cart. */
  currency: string;
  user: { id: string; display_name: string; locale: string };
  place: { latitude_e7: number; longitude_e7: number; accuracy_m: number };
  /** What the user says to the next payment. */
  paymentStatus: 'approved' | 'declined';
  /** Puts the host back that was there before. */
  close(): void;
  /** From now on the permission is refused. */
  deny(permission: string, reason?: DeniedReason): this;
  allow(permission: string): this;
  /** Answers `method` with a value, or with a function of the params that may throw an RpcError. */
  answer(method: string, answer: Json | ((params: any) => unknown)): this;
  /** Lets time pass. */
  advance(milliseconds: number): this;
  /** What is stored under `key`. */
  stored(key: string): any;
  /** Stores a value as if the app had done so earlier. */
  store(key: string, value: Json): this;
}

/** An app as its host sees it. */
export class Launched {
  /** Launches `app`: its `lifecycle.launched` handler has run when this resolves. */
  static launch(app: App, params?: Partial<LaunchedParams>): Promise<Launched>;
  /** An app that was not told about its launch. */
  constructor(app: App);
  /** Calls a method. Rejects with the error as it crosses the bridge. */
  call<Result = any>(method: string, params?: Json): Promise<Result>;
  /** Sends a notification. A handler that throws fails the test. */
  notify(method: string, params?: Json): Promise<void>;
}
