export interface Response {
  readonly status: number;
  /** Whether the status is 200 to 299. */
  readonly ok: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  text(): string;
  json(): any;
}

export interface RequestOptions {
  /** GET if not given. */
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  timeoutMs?: number;
}

/**
 * Sends a request to one of the hosts in the manifest. Permission `network`.
 * @throws {Refused} for any other host.
 */
export function fetch(url: string | URL, options?: RequestOptions): Response;
