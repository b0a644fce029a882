// A Mini App that keeps short notes.

import { InvalidParams, RpcError, defineApp, log, storage } from '@mpkg/sdk';

const KEY = 'notes';
const LONGEST = 280;

/** @type {Array<{ id: number, text: string }>} */
let notes = [];

export const app = defineApp({
  on: {
    'lifecycle.launched': () => {
      notes = storage.get(KEY) ?? [];
      log.info(`${notes.length} notes`);
    },
  },
  methods: {
    'notes.add': ({ text }) => {
      const trimmed = typeof text === 'string' ? text.trim() : '';
      if (trimmed === '' || trimmed.length > LONGEST) {
        throw new InvalidParams(`\`text\` must have 1 to ${LONGEST} characters`);
      }
      const note = { id: Math.max(0, ...notes.map(({ id }) => id)) + 1, text: trimmed };
      storage.set(KEY, [...notes, note]);
      notes.push(note);
      return note;
    },
    'notes.list': () => notes,
    'notes.remove': ({ id }) => {
      const left = notes.filter((note) => note.id !== id);
      if (left.length === notes.length) throw new RpcError(404, `there is no note ${id}`);
      storage.set(KEY, left);
      notes = left;
    },
  },
});
