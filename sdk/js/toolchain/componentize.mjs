// The Node half of building a JavaScript Mini App. mpkg runs it as
//
//     node componentize.mjs STEP < job.json > result.json
//
// once per step: `bundle` makes one file of the project, `splice` puts the bindings of its world into the JavaScript
// engine, `stub` takes WASI out of the pre-initialized engine. What lies between (the world, the pre-initialization,
// the component) is mpkg's own. No step reads a clock, a random number or an environment variable into what it makes.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

const BRIDGE = /^mpkg:bridge\/([a-z][a-z0-9-]*)@1\.0\.0$/;
const SDK = '@mpkg/sdk';
/** None: the engine's own clocks, randomness, output and HTTP all end in stubs. */
const FEATURES = [];

// The splicer writes the time at which it runs into the stubs of the engine's clocks. A package tells no build time.
Date.now = () => Date.UTC(1980, 0, 1);

const steps = { bundle, splice, stub, locate };

const job = JSON.parse(readFileSync(0, 'utf8'));
const result = await steps[process.argv[2]](job);
writeFileSync(1, JSON.stringify(result));

/** A module of the toolchain folder, which is not where this script lies. */
function toolchain(path) {
  return import(pathToFileURL(join(job.toolchain, 'node_modules', path)));
}

/**
 * Bundles `job.entry` into `job.output`, an ES module whose only imports are bridge interfaces.
 * Answers with those interfaces, or with the errors and where they are.
 */
async function bundle({ project, entry, sdk, globals, interfaces, output }) {
  const { rolldown } = await toolchain('rolldown/dist/index.mjs');
  const errors = [];
  const warnings = [];
  const log = (level, message) => level === 'warn' && warnings.push(readable(message, project));
  let chunk;
  try {
    const bundler = await rolldown({
      cwd: project,
      input: join(project, entry),
      platform: 'neutral',
      // A tsconfig.json outside the project folder must not change what is built.
      tsconfig: false,
      resolve: { conditionNames: ['mpkg-guest', 'import'], mainFields: ['module', 'main'] },
      transform: { target: 'es2022', inject: hostGlobals(globals) },
      plugins: [hostPlugin(interfaces, errors), sdkPlugin(sdk)],
      onLog: log,
    });
    const { output: made } = await bundler.generate({
      file: output,
      format: 'esm',
      codeSplitting: false,
      sourcemap: 'hidden',
      // Without white space there are no comments that name folders either, so the bytes do not depend on them.
      minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
      comments: { legal: false, annotation: false, jsdoc: false },
    });
    [chunk] = made;
  } catch (error) {
    if (!error.errors) throw error;
    errors.push(...error.errors.map((message) => readable(message, project)));
  }
  if (chunk && !chunk.exports.includes('app')) {
    errors.push({ file: entry, text: 'a Mini App exports its interface: export const app = defineApp({ … })' });
  }
  if (errors.length > 0) {
    const shown = errors.map(({ file, ...error }) => {
      return { ...error, file: file && isAbsolute(file) ? relative(project, file) : file };
    });
    // Modules are read in whatever order the disk answers.
    shown.sort((a, b) => `${a.file}`.localeCompare(`${b.file}`, 'en') || (a.line ?? 0) - (b.line ?? 0));
    return { errors: shown, warnings, interfaces: [] };
  }
  writeFileSync(output, chunk.code);
  writeFileSync(`${output}.map`, JSON.stringify({ ...chunk.map, sourcesContent: undefined }));
  return { errors, warnings, interfaces: chunk.imports.map((path) => BRIDGE.exec(path)[1]).sort() };
}

/**
 * A guest has no clock, randomness or console of its own. Code that uses the standard names gets the host's, and only
 * such code does, so the component still imports no more than it uses.
 */
function hostGlobals(globals) {
  return {
    Date: [globals, 'Date'],
    console: [globals, 'console'],
    fetch: [globals, 'fetch'],
    setInterval: [globals, 'setInterval'],
    setTimeout: [globals, 'setTimeout'],
    'Math.random': [globals, 'random'],
    'performance.now': [globals, 'performanceNow'],
    'crypto.getRandomValues': [globals, 'getRandomValues'],
    'crypto.randomUUID': [globals, 'randomUUID'],
  };
}

/** Leaves the host's interfaces for the engine to resolve, and refuses what no host has. */
function hostPlugin(interfaces, errors) {
  return {
    name: 'mpkg-host',
    resolveId(path, importer) {
      if (path.startsWith('mpkg:')) {
        if (!interfaces.includes(BRIDGE.exec(path)?.[1])) {
          errors.push({ text: `the host has no interface ${path}`, ...place(importer, path) });
        }
      } else if (path.startsWith('node:')) {
        const text = `${path} belongs to Node; a Mini App reaches the world through ${SDK} only`;
        errors.push({ text, ...place(importer, path) });
      } else {
        return null;
      }
      return { id: path, external: true, moduleSideEffects: false };
    },
  };
}

/** One SDK for everybody in the bundle: the globals and the errors of two copies would be strangers to each other. */
function sdkPlugin(sdk) {
  return {
    name: 'mpkg-sdk',
    resolveId(path) {
      if (path !== SDK && !path.startsWith(`${SDK}/`)) return null;
      // A package may import itself by name, so a file of the SDK finds the SDK's own `exports`.
      return this.resolve(path, join(sdk, 'src', 'index.js'), { skipSelf: true });
    },
  };
}

/** Where `importer` names `path`. */
function place(importer, path) {
  if (!importer) return {};
  const lines = readFileSync(importer, 'utf8').split('\n');
  const line = lines.findIndex((text) => text.includes(path));
  if (line === -1) return { file: importer };
  return { file: importer, line: line + 1, column: lines[line].indexOf(path) + 1, source: lines[line] };
}

/** One complaint of the bundler: a sentence, and where. */
function readable({ message, loc }, project) {
  const [sentence] = stripVTControlCharacters(message).split('\n');
  const text = sentence.replace(/^\[[A-Z_]+\] /, '').replaceAll(project + sep, '');
  if (!loc?.file) return { text };
  const source = existsSync(loc.file) ? readFileSync(loc.file, 'utf8').split('\n')[loc.line - 1] : undefined;
  return { text, file: loc.file, line: loc.line, column: loc.column + 1, source };
}

/** The splicer, and the engine it works on. */
async function componentizeJs() {
  const { splicer } = await toolchain('@bytecodealliance/componentize-js/lib/spidermonkey-embedding-splicer.js');
  return splicer;
}

/** Puts bindings for `job.world` into the engine. The host's calls become imports, `app.handle` becomes an export. */
async function splice({ world, worldName, output, initializer, toolchain }) {
  const splicer = await componentizeJs();
  const lib = join(toolchain, 'node_modules', '@bytecodealliance', 'componentize-js', 'lib');
  const engine = readFileSync(join(lib, 'starlingmonkey_embedding.wasm'));
  const { wasm, jsBindings, exports, imports } =
    splicer.spliceBindings(engine, FEATURES, world, undefined, worldName, false);
  writeFileSync(output, wasm);
  writeFileSync(initializer, jsBindings);
  return { environment: environment(exports, imports) };
}

/** What the engine reads while it is pre-initialized: the shape of each export and import. */
function environment(exports, imports) {
  const env = { DEBUG: '', SOURCE_NAME: 'app.js', FEATURE_CLOCKS: '' };
  env.EXPORT_CNT = String(exports.length);
  for (const [index, [name, { paramptr, params, retptr, ret, retsize }]] of exports.entries()) {
    env[`EXPORT${index}_NAME`] = name;
    env[`EXPORT${index}_ARGS`] = (paramptr ? '*' : '') + params.join(',');
    env[`EXPORT${index}_RET`] = (retptr ? '*' : '') + (ret ?? '');
    env[`EXPORT${index}_RETSIZE`] = String(retsize);
  }
  env.IMPORT_CNT = String(imports.length);
  for (const [index, [, name, argumentCount]] of imports.entries()) {
    env[`IMPORT${index}_NAME`] = name;
    env[`IMPORT${index}_ARGCNT`] = String(argumentCount);
  }
  return env;
}

/** Replaces every WASI import of the pre-initialized engine by a stub inside it. */
async function stub({ world, worldName, input, output }) {
  const splicer = await componentizeJs();
  writeFileSync(output, splicer.stubWasi(readFileSync(input), FEATURES, world, undefined, worldName));
  return {};
}

/** Rewrites `app.js:1:2345` in `job.text` to the project's own file and line. */
function locate({ project, bundle, text }) {
  const map = new SourceMap(JSON.parse(readFileSync(`${bundle}.map`, 'utf8')));
  const located = text.replace(/\/?app\.js:(\d+):(\d+)/g, (whole, line, column) => {
    const origin = map.findEntry(Number(line) - 1, Number(column) - 1);
    if (!origin.originalSource) return whole;
    const file = relative(project, resolve(bundle, '..', origin.originalSource));
    return `${file}:${origin.originalLine + 1}:${origin.originalColumn + 1}`;
  });
  // The bindings' own place in a file that nobody wrote says nothing.
  return { text: located.replace(/^\/app\/initializer\.js:\d+:\d+ ?/gm, '') };
}
