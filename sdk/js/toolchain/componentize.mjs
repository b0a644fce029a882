// The Node half of building a JavaScript Mini App. mpkg runs it as
//
//     node componentize.mjs STEP < job.json > result.json
//
// once per step: `bundle` makes one file of the project, `splice` puts the bindings of its world into the JavaScript
// engine, `stub` takes WASI out of the pre-initialized engine. What lies between (the world, the pre-initialization,
// the component) is mpkg's own. No step reads a clock, a random number or an environment variable into what it makes.

import { readFileSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join, relative, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

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
 * Answers with those interfaces, or with every error and where it is.
 */
async function bundle({ project, entry, sdk, interfaces, output }) {
  const esbuild = await toolchain('esbuild/lib/main.js');
  let built;
  try {
    built = await esbuild.build({
      absWorkingDir: project,
      entryPoints: [entry],
      outfile: output,
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'neutral',
      mainFields: ['module', 'main'],
      conditions: ['mpkg-guest'],
      target: 'es2022',
      charset: 'utf8',
      // Without white space there are no comments that name folders either, so the bytes do not depend on them.
      minifyWhitespace: true,
      legalComments: 'none',
      sourcemap: 'external',
      sourcesContent: false,
      // A guest has no clock, randomness or console of its own. Code that uses the standard names gets the host's, and
      // only such code does, so the component still imports no more than it uses.
      inject: [join(sdk, 'src', 'guest', 'globals.js')],
      define: {
        'Math.random': '__mpkg_math_random',
        'performance.now': '__mpkg_performance_now',
        'crypto.getRandomValues': '__mpkg_get_random_values',
        'crypto.randomUUID': '__mpkg_random_uuid',
      },
      plugins: [bridgePlugin(interfaces), sdkPlugin(sdk)],
      logLevel: 'silent',
      // A project's tsconfig.json outside the project folder must not change what is built.
      tsconfigRaw: {},
    });
  } catch (error) {
    if (!error.errors) throw error;
    return { errors: error.errors.map((message) => readable(message, project)), warnings: [], interfaces: [] };
  }
  for (const file of built.outputFiles) writeFileSync(file.path, file.contents);
  const [made] = Object.values(built.metafile.outputs).filter((made) => made.entryPoint !== undefined);
  const imported = made.imports.flatMap(({ path }) => BRIDGE.exec(path)?.[1] ?? []);
  const errors = made.exports.includes('app')
    ? []
    : [{ file: entry, text: "a Mini App exports its interface: export const app = defineApp({ … })" }];
  return {
    errors,
    warnings: built.warnings.map((message) => readable(message, project)),
    interfaces: [...new Set(imported)].sort(),
  };
}

/** Leaves the host's interfaces for the engine to resolve, and refuses those that no host has. */
function bridgePlugin(interfaces) {
  return {
    name: 'mpkg-bridge',
    setup(build) {
      build.onResolve({ filter: /^mpkg:/ }, ({ path }) => {
        const known = interfaces.includes(BRIDGE.exec(path)?.[1]);
        if (known) return { path, external: true, sideEffects: false };
        return { errors: [{ text: `the host has no interface ${path}` }] };
      });
      build.onResolve({ filter: /^node:/ }, ({ path }) => {
        return { errors: [{ text: `${path} belongs to Node; a Mini App reaches the world through ${SDK} only` }] };
      });
    },
  };
}

/** The project's own copy of the SDK if it has one, else the copy that mpkg carries. */
function sdkPlugin(sdk) {
  return {
    name: 'mpkg-sdk',
    setup(build) {
      build.onResolve({ filter: /^@mpkg\/sdk(\/|$)/ }, async ({ path, kind, resolveDir, pluginData }) => {
        if (pluginData === SDK) return undefined;
        const own = await build.resolve(path, { kind, resolveDir, pluginData: SDK });
        if (own.errors.length === 0) return own;
        // A package may import itself by name: from inside the carried copy that finds its own `exports`.
        return build.resolve(path, { kind, resolveDir: join(sdk, 'src'), pluginData: SDK });
      });
    },
  };
}

function readable({ text, location, notes }, project) {
  const place = location && {
    file: location.file,
    line: location.line,
    // esbuild counts columns in bytes from 0; people count characters from 1.
    column: Buffer.from(location.lineText).subarray(0, location.column).toString().length + 1,
    source: location.lineText,
  };
  const hint = notes.map((note) => note.text).join(' ').replaceAll(project + sep, '');
  return { text: text.replaceAll(project + sep, ''), ...place, hint: hint || undefined };
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
  return { text: located };
}
