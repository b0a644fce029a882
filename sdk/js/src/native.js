// Outside a Mini App there is no host. Tests put a fake one here (see testing.js); `@mpkg/sdk` itself never does.

let current;

/** Makes `host` the one that all bridges lead to; returns the one before. */
export function install(host) {
  const before = current;
  current = host;
  return before;
}

/** The function `call` of the bridge interface `name`. */
export function bridge(name) {
  return (method, params) => {
    if (!current) {
      throw new Error(`${method} needs a host: in a test, create one with new FakeHost() from '@mpkg/sdk/testing'`);
    }
    return current.call(name, method, params);
  };
}
