import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { test } from 'node:test'
import { geminiFile, type GeminiForm, geminiSettings, typeSetup, typeUndo } from '../../src/setup/gemini.js'
import { setUp, takeBack } from '../../src/setup/marked-lines.js'
import type { PoolAddress } from '../../src/setup/pool-address.js'
import { Home } from '../kit/setup.js'

const URL = 'http://127.0.0.1:8989'
const open: PoolAddress = { url: URL }
const keyed = { url: URL, key: 'a-key-of-the-laptop' }

const setUpEnv = (before: string, form: GeminiForm, address: PoolAddress) =>
  setUp({ ...geminiFile, file: '.env', before }, (values) => geminiSettings(form, address, values)).after
const undoneEnv = (before: string) => takeBack({ ...geminiFile, file: '.env', before }, undefined).after
const LINES = `CODE_ASSIST_ENDPOINT=${URL} # codex-pool
GOOGLE_GENAI_USE_GCA=true # codex-pool
GOOGLE_CLOUD_ACCESS_TOKEN=unused # codex-pool
`
const KEY_LINES = `GOOGLE_GEMINI_BASE_URL=${URL} # codex-pool
GEMINI_API_KEY=unused # codex-pool
`
const HEADER = 'x-codex-pool-key: a-key-of-the-laptop'
const crlf = (text: string): string => text.replaceAll('\n', '\r\n')

/** `expected` is the file of an open pool; without it, the lines go before everything that is there. */
const envFiles: Record<string, { before: string; expected?: string }> = {
  'an empty file': { before: '' },
  'comments and no line end': { before: '# mine\n\nA=1 # b' },
  CRLF: { before: 'A=1\r\n\r\nB="x"\r\n', expected: `${crlf(LINES)}A=1\r\n\r\nB="x"\r\n` },
  'values over several lines, one of which looks like ours': {
    before: 'A="x\nGOOGLE_GENAI_USE_GCA=false\n# before codex-pool: B=1\n# codex-pool"\nB=\'y\nz\'\n',
  },
  'empty values and lines that say nothing': {
    before: 'A=\n# codex-pool\nB\n= 1\n"C"\nD: x\n  export E = 1\n',
  },
  'one of ours, set otherwise': {
    before: 'A=1\n  export CODE_ASSIST_ENDPOINT = "https://other" # work\nB=2\n',
    expected: `${LINES}A=1\n# before codex-pool:   export CODE_ASSIST_ENDPOINT = "https://other" # work\nB=2\n`,
  },
  'one of ours, set otherwise twice and over several lines': {
    before: "CODE_ASSIST_ENDPOINT='a\n\nb'\nCODE_ASSIST_ENDPOINT: c",
    expected: `${LINES}# before codex-pool: CODE_ASSIST_ENDPOINT='a\n# before codex-pool: \n# before codex-pool: b'\n# before codex-pool: CODE_ASSIST_ENDPOINT: c`,
  },
  'one of ours, put in by hand': {
    before: 'GOOGLE_GENAI_USE_GCA="true"\n',
    expected: `${LINES.replace(/^GOOGLE_GENAI.*\n/m, '')}GOOGLE_GENAI_USE_GCA="true"\n`,
  },
  'a line of the person that ends like ours': { before: 'A=1 # codex-pool\n' },
  'a key of the person': { before: 'GEMINI_API_KEY=AIza-of-the-person\n' },
}

for (const [name, { before, expected = LINES + before }] of Object.entries(envFiles)) {
  test(`.env gets our lines and keeps every other byte: ${name}`, () => {
    assert.equal(setUpEnv(before, 'login', open), expected)
  })
  test(`.env is given back byte for byte: ${name}`, () => {
    for (const form of ['login', 'api-key'] as const)
      for (const address of [open, keyed]) assert.equal(undoneEnv(setUpEnv(before, form, address)), before)
  })
  test(`.env set up again is the same, and another form leaves no trace of the first: ${name}`, () => {
    for (const form of ['login', 'api-key'] as const)
      for (const address of [open, keyed]) {
        const once = setUpEnv(before, form, address)
        assert.equal(setUpEnv(once, form, address), once)
        assert.equal(setUpEnv(once, 'login', open), expected)
      }
  })
}

for (const [name, before, headers] of [
  ['alone', '', `'${HEADER}'`],
  [
    'beside the headers of the person',
    'GEMINI_CLI_CUSTOM_HEADERS="X-A: 1, 2, X-B: it\'s"\n',
    `"X-A: 1, 2, X-B: it's, ${HEADER}"`,
  ],
  [
    'instead of an older one',
    `GEMINI_CLI_CUSTOM_HEADERS=X-Codex-Pool-Key: old, X-B: 3\n`,
    `'X-B: 3, ${HEADER}'`,
  ],
] as const)
  test(`the pool's key travels in a header, ${name}, and never as the token that Google sees`, () => {
    const after = setUpEnv(before, 'login', keyed)
    const aside = before && `# before codex-pool: ${before}`
    assert.equal(after, `${LINES}GEMINI_CLI_CUSTOM_HEADERS=${headers} # codex-pool\n${aside}`)
  })

test('without a key of the pool the headers of the person are left alone', () => {
  const before = 'GEMINI_CLI_CUSTOM_HEADERS=X-A: 1\n'
  assert.equal(setUpEnv(before, 'api-key', open), KEY_LINES + before)
})

const LINE = '"security": {"auth":{"selectedType":"oauth-personal"}}'
const FRESH = `{\n${LINE}\n}\n`

const settingsFiles: Record<string, [before: string, after: string]> = {
  'no file, or an empty one': ['', FRESH],
  'an empty object': ['{}', `{${LINE}}`],
  'an empty object over two lines': ['{\n}\n', FRESH],
  'nothing but a comment': ['{ /* mine */ }', `{ ${LINE} /* mine */ }`],
  'one line': ['{ "a": [1, 2] }', `{ ${LINE}, "a": [1, 2] }`],
  'comments, tabs and no final line end': [
    '// mine\n{\n\t"ui": { "theme": "x" }, // why\n\t/* a */ "mcpServers": {}\n\t// b\n}',
    `// mine\n{\n\t${LINE},\n\t"ui": { "theme": "x" }, // why\n\t/* a */ "mcpServers": {}\n\t// b\n}`,
  ],
  'a comment behind the first bracket': ['{ // mine\n  "a": 1\n}\n', `{ ${LINE}, // mine\n  "a": 1\n}\n`],
  'another type, and other settings beside it': [
    '{\r\n    "security": {\r\n        "auth": { "selectedType": "vertex-ai" /* why */, "useExternal": true }\r\n    }\r\n}\r\n',
    '{\r\n    "security": {\r\n        "auth": { "selectedType": "oauth-personal" /* why */, "useExternal": true }\r\n    }\r\n}\r\n',
  ],
  'a table of the same name, with CRLF': [
    '{\r\n    "security": {\r\n        "folderTrust": { "enabled": false }\r\n    }\r\n}\r\n',
    '{\r\n    "security": {\r\n        "auth": {"selectedType":"oauth-personal"},\r\n        "folderTrust": { "enabled": false }\r\n    }\r\n}\r\n',
  ],
  'the type that is wanted': [`{ ${LINE} }`, `{ ${LINE} }`],
}
for (const [name, [before, after]] of Object.entries(settingsFiles)) {
  test(`settings.json gets the type and keeps every other byte: ${name}`, () => {
    assert.equal(typeSetup('s', before, 'login', undefined).after, after)
    const other = typeSetup('s', after, 'api-key', before)
    assert.equal(typeSetup('s', other.after, 'login', before).after, after)
  })
  test(`settings.json is given back byte for byte: ${name}`, () => {
    for (const form of ['login', 'api-key'] as const) {
      const { copy, after } = typeSetup('s', before, form, undefined)
      assert.equal(typeUndo('s', after, copy === 'make' ? before : undefined).after, before)
    }
  })
}

/** What somebody does to settings.json between the set-up and the undo, and what is left. */
const since: Record<string, [before: string, changed: string, left: string]> = {
  'a setting more, where there was no file': [
    '',
    FRESH.replace('{', '{\n  "ui": { "theme": "x" }, // mine'),
    '{\n  "ui": { "theme": "x" }, // mine\n"security": {"auth":{}}\n}\n',
  ],
  'everything in another order': [
    '{ "a": 1, /* , */ "b": 2 }',
    '{ "b": 2 /* , */, /* c */ "security": { "auth": { "selectedType": "oauth-personal" } } }',
    '{ "b": 2 /* , */, /* c */ "security": { "auth": { } } }',
  ],
  'a setting more in the same table': [
    '{ "security": { "auth": { "selectedType": "vertex-ai" } } }',
    '{ "security": { "auth": { "selectedType": "oauth-personal" }, "a": 1 } }',
    '{ "security": { "auth": { "selectedType": "vertex-ai" }, "a": 1 } }',
  ],
  "another type of the person's own choice": [
    '{ "security": { "auth": { "selectedType": "vertex-ai" } } }',
    '{ "security": { "auth": { "selectedType": "compute-default-credentials" } } }',
    '{ "security": { "auth": { "selectedType": "compute-default-credentials" } } }',
  ],
}
for (const [name, [before, changed, left]] of Object.entries(since))
  test(`undo in settings.json keeps what was changed since: ${name}`, () => {
    assert.equal(typeUndo('s', changed, before).after, left)
  })

for (const [name, text, problem] of [
  ['what is not JSON', '{\n  "a": 1,\n}\n', /^s is not a JSON object \(line 3\)\. Nothing was changed$/],
  ['a list', '[]', /not a JSON object/],
  ['a key that is there twice', '{ "security": {}, "security": { "a": 1 } }', /twice/],
  [
    'a value where a table belongs',
    '{ "security": { "auth": "x" } }',
    /cannot take security\.auth\.selectedType: .*something else/,
  ],
] as const)
  test(`settings.json is refused, and told why: ${name}`, () => {
    assert.throws(() => typeSetup('s', text, 'login', undefined), {
      code: 'setup_refused',
      message: problem,
    })
  })

const ENV = '.gemini/.env'
const SETTINGS = '.gemini/settings.json'
const COPY = '.before-codex-pool'
const access = {
  'work/codex-pool.config.json': JSON.stringify({ access: { keys: { laptop: keyed.key } } }),
}

test('setup gemini writes both files, keeps copies beside them, and --undo leaves no trace', async (t) => {
  const originals = { [ENV]: '# mine\nGEMINI_API_KEY=AIza-of-the-person', [SETTINGS]: '{ /* mine */ }' }
  const home = await Home.create(t, { ...originals, ...access })
  const printed = await home.setup(['gemini', '--api-key', '--print'])
  assert.deepEqual(await home.list('.gemini'), ['.env', 'settings.json'])
  const done = await home.setup(['gemini', '--api-key'])
  assert.deepEqual({ code: done.code, stderr: done.stderr }, { code: 0, stderr: '' })
  for (const { stdout } of [printed, done]) assert.doesNotMatch(stdout, /AIza|a-key-of/)
  assert.match(await home.read(SETTINGS), /"selectedType":"gemini-api-key".* \/\* mine \*\//)
  assert.equal(
    await home.read(ENV),
    `${KEY_LINES}GEMINI_CLI_CUSTOM_HEADERS='${HEADER}' # codex-pool\n# mine\n# before codex-pool: GEMINI_API_KEY=AIza-of-the-person`,
  )
  for (const [name, text] of Object.entries(originals)) assert.equal(await home.read(name + COPY), text)

  assert.equal((await home.setup(['gemini'])).code, 0)
  assert.match(await home.read(SETTINGS), /"selectedType":"oauth-personal"/)
  assert.equal((await home.setup(['gemini', '--undo'])).code, 0)
  for (const [name, text] of Object.entries(originals)) assert.equal(await home.read(name), text)
  assert.deepEqual(await home.list('.gemini'), ['.env', 'settings.json'])
})

test('files that were not there are private, and gone after --undo', async (t) => {
  const home = await Home.create(t)
  const env = { GEMINI_CLI_HOME: home.file('elsewhere') }
  assert.equal((await home.setup(['gemini'], env)).code, 0)
  for (const name of ['.env', 'settings.json'])
    assert.equal((await stat(home.file(`elsewhere/.gemini/${name}`))).mode & 0o777, 0o600)
  assert.equal(await home.read('elsewhere/.gemini/.env'), LINES)
  assert.equal((await home.setup(['gemini', '--undo'], env)).code, 0)
  assert.deepEqual(await home.list('elsewhere/.gemini'), [])
})

test('if one of the files is refused the other one is not written either', async (t) => {
  const home = await Home.create(t, { [SETTINGS]: '{' })
  const { code, stderr } = await home.setup(['gemini'])
  assert.equal(code, 1)
  assert.match(stderr, /settings\.json is not a JSON object/)
  assert.deepEqual(await home.list('.gemini'), ['settings.json'])
})

/** What is said of a set-up that would not do what its person expects. */
const traps: Record<string, { files?: Record<string, string>; env?: Record<string, string>; note: RegExp }> =
  {
    'folders that are not trusted': { note: /only in folders that you have trusted/ },
    'a proxy in between': {
      env: { HTTPS_PROXY: 'http://p:1' },
      note: /HTTPS_PROXY .*Set NO_PROXY=127\.0\.0\.1/,
    },
    'a nearer file': { files: { 'work/.env': 'A=1' }, note: /work\/\.env hides this one/ },
    'a shell that says otherwise': {
      env: { CODE_ASSIST_ENDPOINT: 'https://other' },
      note: /CODE_ASSIST_ENDPOINT is set in your shell/,
    },
    'headers in the shell that lack the key': {
      files: access,
      env: { GEMINI_CLI_CUSTOM_HEADERS: 'X-A: 1' },
      note: /GEMINI_CLI_CUSTOM_HEADERS is set in your shell/,
    },
    'a type that is enforced': {
      files: { [SETTINGS]: '{ "security": { "auth": { "enforcedType": "vertex-ai" } } }' },
      note: /enforcedType allows only "vertex-ai"/,
    },
    'a value that had to go': {
      files: { [ENV]: 'A=1\nGOOGLE_GENAI_USE_GCA=false' },
      note: /line 2, GOOGLE_GENAI_USE_GCA: set aside/,
    },
  }
for (const [name, { files, env, note }] of Object.entries(traps))
  test(`setup gemini warns of ${name}`, async (t) => {
    const home = await Home.create(t, files)
    const { code, stdout } = await home.setup(['gemini'], env)
    assert.equal(code, 0)
    assert.match(stdout, note)
  })

test('what is harmless is not warned of', async (t) => {
  const home = await Home.create(t)
  const env = {
    HTTPS_PROXY: 'http://p:1',
    no_proxy: '*',
    GOOGLE_CLOUD_ACCESS_TOKEN: 'x',
    CODE_ASSIST_ENDPOINT: URL,
  }
  const { stdout } = await home.setup(['gemini'], env)
  assert.equal(stdout.match(/^note: /gm)?.length, 1, stdout)
})
