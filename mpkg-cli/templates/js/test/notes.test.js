// These run in node, against a fake host: `npm test`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { FakeHost, Launched } from '@mpkg/sdk/testing';

import { app } from '../src/index.js';

test('notes are added, listed and removed', async () => {
  const host = new FakeHost();
  const launched = await Launched.launch(app);
  const note = await launched.call('notes.add', { text: '  milk ' });
  assert.deepEqual(note, { id: 1, text: 'milk' });
  assert.deepEqual(await launched.call('notes.list', {}), [note]);
  await launched.call('notes.remove', { id: 1 });
  assert.deepEqual(host.stored('notes'), []);
  await assert.rejects(launched.call('notes.remove', { id: 1 }), { code: 404 });
});

test('notes survive a restart', async () => {
  const host = new FakeHost();
  host.store('notes', [{ id: 7, text: 'bread' }]);
  const launched = await Launched.launch(app);
  assert.deepEqual(await launched.call('notes.list', {}), [{ id: 7, text: 'bread' }]);
  assert.equal((await launched.call('notes.add', { text: 'milk' })).id, 8);
});

test('an empty note is refused', async () => {
  const host = new FakeHost();
  const launched = await Launched.launch(app);
  await assert.rejects(launched.call('notes.add', { text: ' ' }), { name: 'InvalidParams' });
  assert.equal(host.stored('notes'), undefined);
});

test('without permission nothing is stored', async () => {
  const host = new FakeHost();
  const launched = await Launched.launch(app);
  host.deny('storage', 'revoked');
  await assert.rejects(launched.call('notes.add', { text: 'milk' }), { name: 'PermissionDenied' });
  assert.equal(host.stored('notes'), undefined);
});
