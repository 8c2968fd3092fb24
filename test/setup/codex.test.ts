import assert from 'node:assert/strict'
import { chmod, lstat, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { codexFile, type CodexForm, codexSettings } from '../../src/setup/codex.js'
import { setUp, takeBack } from '../../src/setup/marked-lines.js'
import { Home } from '../kit/setup.js'

const URL = 'http://127.0.0.1:8989'
const FILE = 'config.toml'
const forms: readonly CodexForm[] = ['builtin', 'provider', 'no-login']

const change = (before: string, form: CodexForm, url = URL) =>
  setUp({ ...codexFile, file: FILE, before }, (values) => codexSettings(form, url, values))
const setUpText = (before: string, form: CodexForm, url = URL) => change(before, form, url).after
const undoneText = (before: string, copy?: string) =>
  takeBack({ ...codexFile, file: FILE, before }, copy).after

const TOP = `openai_base_url = "${URL}/v1" # codex-pool
chatgpt_base_url = "${URL}/backend-api" # codex-pool
`
const SEED_TOP = `model_provider = "codex-pool" # codex-pool
chatgpt_base_url = "${URL}/backend-api" # codex-pool
`
const SEED_TABLE = `[model_providers.codex-pool] # codex-pool
name = "OpenAI via codex-pool" # codex-pool
base_url = "${URL}/v1" # codex-pool
wire_api = "responses" # codex-pool
requires_openai_auth = true # codex-pool
`
const crlf = (text: string): string => text.replaceAll('\n', '\r\n')

/** `expected` is the file with the built-in provider; without it, the lines go before everything that is there. */
const files: Record<string, { before: string; expected?: string }> = {
  'an empty file': { before: '' },
  'a comment and no line end': { before: '# hello' },
  'keys and tables': { before: 'model = "gpt-5.5"   # why\n\n[mcp_servers.a]\ncommand = "x"\n' },
  'a table at once, with a comment of its own': {
    before: '# about a\n[mcp_servers.a]   # b\ncommand = "x"\n\n\n',
  },
  'no final line end': { before: '[a]\nb = 1' },
  CRLF: {
    before: '# c\r\na = 1 # y\r\n\r\n[b]\r\nc = 1\r\n',
    expected: `${crlf(TOP)}# c\r\na = 1 # y\r\n\r\n[b]\r\nc = 1\r\n`,
  },
  'mixed line ends': {
    before: 'a = 1\r\nb = 2\nc = 3\r\n[t]\nx=1\r\n',
    expected: `${crlf(TOP)}a = 1\r\nb = 2\nc = 3\r\n[t]\nx=1\r\n`,
  },
  'the line that names a schema for editors': {
    before: '#:schema https://example.com/s.json\n# mine\n',
    expected: `#:schema https://example.com/s.json\n${TOP}# mine\n`,
  },
  'nothing but that line, and no line end': {
    before: '#:schema x',
    expected: `#:schema x\n${TOP.trimEnd()}`,
  },
  'strings that look like what we look for': {
    before: `a = """\n[not a table]\nopenai_base_url = "x" # codex-pool\n# before codex-pool: b = 1\n"""\n[t]\nb = '''\n# codex-pool'''\n`,
  },
  'arrays, inline tables, dates, numbers': {
    before:
      'a = [\n  "a", # c\n  [1, 2],\n]\nb = { c = { d = 1 } } # e\nf = 1979-05-27T07:32:00Z\ng = 0xFF\nh = 9223372036854775807\ni = nan\n[[x]]\ny = 1\n[[x]]\n',
  },
  'spaces and tabs at the ends of lines': { before: 'model = "x"   \n\t\n\t[t]  \n\t\tx = 1  ' },
  'letters beyond ASCII': { before: 'x = "h\u00e9 \u{1F600}" # \u{1F600}\u2028\n[t."a key"]\n"k k" = 1\n' },
  'another address': {
    before: '# mine\nopenai_base_url = "https://other/v1" # work\nmodel = \'x\'\n',
    expected: `${TOP}# mine\n# before codex-pool: openai_base_url = "https://other/v1" # work\nmodel = 'x'\n`,
  },
  'another address over several lines': {
    before: '"openai_base_url" = """\r\n\r\nhttps://other"""  # c\r\nz = 1\r\n',
    expected: `${crlf(TOP)}# before codex-pool: "openai_base_url" = """\r\n# before codex-pool: \r\n# before codex-pool: https://other"""  # c\r\nz = 1\r\n`,
  },
  'another provider': {
    before: 'model_provider = "azure"\n\n[model_providers.azure]\nname = "a"',
    expected: `${TOP}# before codex-pool: model_provider = "azure"\n\n[model_providers.azure]\nname = "a"`,
  },
  'a line of the person that ends like ours': { before: 'model = "x" # codex-pool\n[a] # codex-pool\n' },
  'the built-in provider by its name': { before: 'model_provider = "openai"\n' },
  'a key of ours in another table': { before: '[a]\nopenai_base_url = "x"\nmodel_provider = "y"\n' },
  'one of our lines, put in by hand': {
    before: `chatgpt_base_url = '${URL}/backend-api'\n`,
    expected: `openai_base_url = "${URL}/v1" # codex-pool\nchatgpt_base_url = '${URL}/backend-api'\n`,
  },
  'the lines that `codex-pool clients` prints': {
    before: `model_provider = "codex-pool"\nchatgpt_base_url = "${URL}/backend-api"\n\n[model_providers.codex-pool]\nname = "OpenAI via codex-pool"\nbase_url = "${URL}/v1"\nwire_api = "responses"\nrequires_openai_auth = true\n`,
    expected: `openai_base_url = "${URL}/v1" # codex-pool\n# before codex-pool: model_provider = "codex-pool"\nchatgpt_base_url = "${URL}/backend-api"\n\n[model_providers.codex-pool]\nname = "OpenAI via codex-pool"\nbase_url = "${URL}/v1"\nwire_api = "responses"\nrequires_openai_auth = true\n`,
  },
}

for (const [name, { before, expected = TOP + before }] of Object.entries(files)) {
  test(`the file gets our lines and keeps every other byte: ${name}`, () => {
    assert.equal(setUpText(before, 'builtin'), expected)
  })
  for (const form of forms)
    test(`undo gives back every byte (${form}): ${name}`, () => {
      assert.equal(undoneText(setUpText(before, form)), before)
    })
  test(`a second time changes nothing, and another form or address leaves no trace of the first: ${name}`, () => {
    let text = before
    for (const form of [...forms, 'builtin'] as const)
      for (const url of ['http://other:1', URL]) {
        text = setUpText(text, form, url)
        assert.equal(setUpText(text, form, url), text)
      }
    assert.equal(text, expected)
  })
}

test('the form of a provider of its own puts its table at the end, where it takes in no key', () => {
  assert.equal(setUpText('a = 1\n[b]\nc = 1\n', 'provider'), `${SEED_TOP}a = 1\n[b]\nc = 1\n${SEED_TABLE}`)
})

test('a provider of the same name that says something else is set aside, however it is written', () => {
  const table =
    '[model_providers.codex-pool]\nname = "old"\n[model_providers.codex-pool.http_headers]\na = "b"\n'
  const aside = table.replace(/^(?=.)/gm, '# before codex-pool: ')
  assert.equal(setUpText(table, 'provider'), SEED_TOP + aside + SEED_TABLE)
  const dotted = 'model_providers.codex-pool.name = "old"\n'
  assert.equal(setUpText(dotted, 'provider'), `${SEED_TOP}# before codex-pool: ${dotted}${SEED_TABLE}`)
})

test('a configuration that says it all already is left alone', () => {
  const before = `openai_base_url = '${URL}/v1'\nchatgpt_base_url = '${URL}/backend-api'\n`
  const { after, copy, notes } = change(before, 'builtin')
  assert.deepEqual([after, copy, notes], [before, 'keep', []])
})

for (const [name, before, problem] of [
  [
    'what is not TOML',
    'a = 1\nb = \n',
    /config\.toml is not valid TOML \(line 3: .*\)\. Nothing was changed$/,
  ],
  [
    'providers in an inline table',
    'model_providers = { a = { name = "x" } }\n',
    /cannot take .*model_providers\.codex-pool/,
  ],
] as const)
  test(`refused, and told why: ${name}`, () => {
    assert.throws(() => setUpText(before, 'provider'), { code: 'setup_refused', message: problem })
  })

const COPY = 'model_provider = "azure" # work\n[b]\nc = 1\n'
const SET_UP = setUpText(COPY, 'builtin')
const SEEDED = setUpText(COPY, 'provider')

/** What somebody does between the set-up and the undo, and what is left. */
const since: Record<string, [changed: string, left: string]> = {
  'keys between ours, as Codex puts them': [
    SET_UP.replace('chatgpt_base_url', 'model = "x"\nchatgpt_base_url'),
    `model = "x"\n${COPY}`,
  ],
  'a table at the end': [`${SET_UP}\n[d]\ne = 1`, `${COPY}\n[d]\ne = 1`],
  'lines moved about, and one of ours deleted': [
    SET_UP.split('\n').slice(1, 2).join('\n') +
      '\n[b]\nc = 1\n# before codex-pool: model_provider = "azure" # work\n',
    // Back in its place it would have become a key of the table.
    '[b]\nc = 1\n# model_provider = "azure" # work\n',
  ],
  'another value in one of our lines': [SET_UP.replace(`${URL}/v1`, 'https://x/v1'), COPY],
  'what was set aside, set anew': [
    SET_UP.replace('# before', 'model_provider = "mine"\n# before'),
    'model_provider = "mine"\n# model_provider = "azure" # work\n[b]\nc = 1\n',
  ],
  'more in our table': [
    `${SEEDED}stream_max_retries = 2\n[model_providers.codex-pool.query_params]\na = "b"\n`,
    COPY,
  ],
  'line ends': [crlf(SET_UP), crlf(COPY)],
}
for (const [name, [changed, left]] of Object.entries(since))
  test(`undo takes out only our lines and keeps what was changed since: ${name}`, () => {
    assert.equal(undoneText(changed, COPY), left)
  })

const CONFIG = '.codex/config.toml'
const AUTH = { '.codex/auth.json': '{"OPENAI_API_KEY":"sk-of-the-person"}' }
const ORIGINAL = '# mine\nmodel_provider = "azure"\n[model_providers.azure]\nname = "a"'

test('setup codex writes the file, keeps a copy beside it, and --undo leaves no trace', async (t) => {
  const home = await Home.create(t, { ...AUTH, [CONFIG]: ORIGINAL })
  await chmod(home.file(CONFIG), 0o640)
  const done = await home.setup(['codex'])
  assert.deepEqual({ code: done.code, stderr: done.stderr }, { code: 0, stderr: '' })
  assert.match(done.stdout, /line 2, model_provider: set aside as a comment/)
  assert.equal(await home.read(CONFIG), TOP + ORIGINAL.replace('model_p', '# before codex-pool: model_p'))
  assert.equal(await home.read(`${CONFIG}.before-codex-pool`), ORIGINAL)
  for (const name of [CONFIG, `${CONFIG}.before-codex-pool`])
    assert.equal((await stat(home.file(name))).mode & 0o777, 0o640)

  assert.match((await home.setup(['codex'])).stdout, /config\.toml: nothing to change/)
  assert.equal((await home.setup(['codex', '--undo'])).code, 0)
  assert.equal(await home.read(CONFIG), ORIGINAL)
  assert.deepEqual(await home.list('.codex'), ['auth.json', 'config.toml'])
  assert.match((await home.setup(['codex', '--undo'])).stdout, /config\.toml: nothing to take out/)
})

test('a byte order mark stays where it was', async (t) => {
  const home = await Home.create(t, { ...AUTH, [CONFIG]: `\uFEFF${ORIGINAL}` })
  assert.equal((await home.setup(['codex'])).code, 0)
  assert.equal(
    await home.read(CONFIG),
    `\uFEFF${TOP}${ORIGINAL.replace('model_p', '# before codex-pool: model_p')}`,
  )
  assert.equal((await home.setup(['codex', '--undo'])).code, 0)
  assert.equal(await home.read(CONFIG), `\uFEFF${ORIGINAL}`)
  assert.deepEqual(await home.list('.codex'), ['auth.json', 'config.toml'])
})

test('a file that is not UTF-8 text is refused and left alone', async (t) => {
  const home = await Home.create(t, AUTH)
  const bytes = Buffer.from('# caf\u00e9\n', 'latin1')
  await writeFile(home.file(CONFIG), bytes)
  const { code, stderr } = await home.setup(['codex'])
  assert.equal(code, 1)
  assert.match(stderr, /config\.toml is not UTF-8 text\. Nothing was changed/)
  assert.deepEqual(await readFile(home.file(CONFIG)), bytes)
})

test('a file that was not there is private, and gone after --undo', async (t) => {
  const home = await Home.create(t)
  const CODEX_HOME = home.file('elsewhere/codex')
  assert.equal((await home.setup(['codex', '--provider'], { CODEX_HOME })).code, 0)
  assert.equal(await home.read('elsewhere/codex/config.toml'), SEED_TOP + SEED_TABLE)
  assert.equal((await stat(home.file('elsewhere/codex/config.toml'))).mode & 0o777, 0o600)
  assert.equal((await home.setup(['codex', '--undo'], { CODEX_HOME })).code, 0)
  assert.deepEqual(await home.list('elsewhere/codex'), [])
})

test("after a change of one's own --undo keeps it, and the copy of what was before", async (t) => {
  const home = await Home.create(t, { ...AUTH, [CONFIG]: ORIGINAL })
  await home.setup(['codex'])
  await home.write(CONFIG, `${await home.read(CONFIG)}\nbase_url = "b"\n`)
  assert.match(
    (await home.setup(['codex', '--undo'])).stdout,
    /is kept\. As it was before: .*before-codex-pool/,
  )
  assert.equal(await home.read(CONFIG), `${ORIGINAL}\nbase_url = "b"\n`)
  assert.equal(await home.read(`${CONFIG}.before-codex-pool`), ORIGINAL)
})

test('a file that is a link stays one', async (t) => {
  const home = await Home.create(t, { ...AUTH, 'dotfiles/codex.toml': ORIGINAL })
  await symlink(home.file('dotfiles/codex.toml'), home.file(CONFIG))
  await home.setup(['codex'])
  assert.ok((await lstat(home.file(CONFIG))).isSymbolicLink())
  assert.ok((await home.read('dotfiles/codex.toml')).startsWith(TOP))
  await home.setup(['codex', '--undo'])
  assert.equal(await home.read('dotfiles/codex.toml'), ORIGINAL)
  assert.deepEqual(await home.list('dotfiles'), ['codex.toml'])
})

test('--print shows what would change, without a secret, and changes nothing', async (t) => {
  const home = await Home.create(t, {
    [CONFIG]: '[model_providers.codex-pool]\nname = "x"\nexperimental_bearer_token = "tok-of-the-person"\n',
    'work/codex-pool.config.json': JSON.stringify({ access: { keys: { laptop: 'a-key-of-the-laptop' } } }),
  })
  const before = await home.read(CONFIG)
  const { code, stdout } = await home.setup(['codex', '--provider', '--print'])
  assert.equal(code, 0)
  for (const line of [
    '  + 1: model_provider = "codex-pool" # codex-pool',
    `  + 2: chatgpt_base_url = "${URL}/k/…/backend-api" # codex-pool`,
    '  - 3: experimental_bearer_token = …',
    '  + 5: # before codex-pool: experimental_bearer_token = …',
  ])
    assert.ok(stdout.split('\n').includes(line), `${line}\nin\n${stdout}`)
  assert.doesNotMatch(stdout, /tok-of-the-person|a-key-of-the-laptop/)
  assert.equal(await home.read(CONFIG), before)
  assert.deepEqual(await home.list('.codex'), ['config.toml'])
})

const keys = { laptop: 'a-key-of-the-laptop', desk: 'a-key-of-the-desk' }
const configuration = (value: object) => ({ 'work/codex-pool.config.json': JSON.stringify(value) })

/** The address that ends up in the file, or what is said instead. */
const addresses: Record<string, [config: object, args: string[], expected: string | RegExp]> = {
  'the address of the configuration': [{ listen: '127.0.0.1:9000' }, [], 'http://127.0.0.1:9000'],
  '--listen': [{}, ['--listen', '127.0.0.1:9001'], 'http://127.0.0.1:9001'],
  "every address, which is nobody's name": [
    { listen: '0.0.0.0:1', access: { keys: false } },
    [],
    'http://127.0.0.1:1',
  ],
  IPv6: [{ listen: '[::1]:9000' }, [], 'http://[::1]:9000'],
  'another machine': [{ access: { keys } }, ['--url', 'https://pool.example/ai/'], 'https://pool.example/ai'],
  'the only key': [{ access: { keys: { desk: keys.desk } } }, [], `${URL}/k/${keys.desk}`],
  'a key by name': [{ access: { keys } }, ['--key', 'laptop'], `${URL}/k/${keys.laptop}`],
  'several keys': [{ access: { keys } }, [], /say which with --key NAME \(laptop, desk\)/],
  'an unknown key': [{ access: { keys } }, ['--key', 'dsk'], /--key: "dsk" is not one of access\.keys/],
  'a free port': [{ listen: '127.0.0.1:0' }, [], /port 0/],
  'no address': [{}, ['--url', 'pool:8989'], /--url is not an address/],
  'the address that Codex takes for chatgpt.com': [
    {},
    ['--url', `${URL}/backend-api/codex`],
    /leave out "\/backend-api\/codex" .*past the pool/,
  ],
}
for (const [name, [config, args, expected]] of Object.entries(addresses))
  test(`setup codex knows where the pool is: ${name}`, async (t) => {
    const home = await Home.create(t, { ...AUTH, ...configuration(config) })
    const { code, stderr } = await home.setup(['codex', ...args])
    if (typeof expected === 'string') {
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
      assert.ok((await home.read(CONFIG)).startsWith(`openai_base_url = "${expected}/v1"`))
    } else {
      assert.equal(code, 1)
      assert.match(stderr, expected)
      assert.deepEqual(await home.list('.codex'), ['auth.json'])
    }
  })

/** What is said of a set-up that would not do what its person expects. */
const traps: Record<
  string,
  { files?: Record<string, string>; env?: Record<string, string>; args?: string[]; note: RegExp }
> = {
  'a table that Codex refuses': {
    files: { [CONFIG]: '[model_providers.openai]\nname = "x"\n' },
    note: /\[model_providers\.openai\] .* refuses to start/,
  },
  'a profile of older Codex': {
    files: { [CONFIG]: 'profile = "a"\n' },
    note: /"profile = …" .* refuses to start/,
  },
  'a profile that leads past the pool': {
    files: {
      '.codex/work.config.toml': 'model_provider = "azure"\n',
      '.codex/fast.config.toml': 'model = "x"\n',
    },
    note: /codex --profile work may not ask the pool: work\.config\.toml sets model_provider\n/,
  },
  'an address past the pool': {
    files: { [CONFIG]: `openai_base_url = "${URL}/backend-api/codex"\n` },
    note: /line 1, openai_base_url: set aside as a comment/,
  },
  'the variable of older Codex': {
    env: { OPENAI_BASE_URL: 'x' },
    note: /OPENAI_BASE_URL .* does not look at it/,
  },
  'a proxy in between': { env: { HTTP_PROXY: 'http://p:1' }, note: /HTTP_PROXY .*Set NO_PROXY=127\.0\.0\.1/ },
  'no login': { files: { '.codex/auth.json': '' }, note: /no login in .*setup codex --no-login/ },
  'the network': { args: ['--url', 'http://pool.example:8989'], note: /not encrypted/ },
}
for (const [name, { files: more = {}, env, args = [], note }] of Object.entries(traps))
  test(`setup codex warns of ${name}`, async (t) => {
    const { '.codex/auth.json': login = AUTH['.codex/auth.json'], ...others } = more
    const home = await Home.create(t, { ...others, ...(login && { '.codex/auth.json': login }) })
    const { code, stdout } = await home.setup(['codex', ...args], env)
    assert.equal(code, 0)
    assert.match(stdout, note)
  })

test('where there is no trap nothing is said of one', async (t) => {
  const home = await Home.create(t, { ...AUTH, 'bin/codex': '#!/bin/sh\necho codex-cli 0.169.0\n' })
  await chmod(home.file('bin/codex'), 0o755)
  const env = { HTTP_PROXY: 'http://p:1', NO_PROXY: 'localhost,127.0.0.1', PATH: home.file('bin') }
  const { stdout } = await home.setup(['codex'], env)
  assert.equal(stdout.match(/^note: /gm)?.length, 1, stdout)
  const quiet = await home.setup(['codex', '--no-login'], env)
  assert.match(await home.read(CONFIG), /^requires_openai_auth = false # codex-pool$/m)
  assert.equal(quiet.stdout.match(/^note: /gm)?.length, 1, quiet.stdout)
})

test('a key that others on the machine may read is told of', async (t) => {
  const home = await Home.create(t, { ...AUTH, [CONFIG]: '', ...configuration({ access: { keys } }) })
  await chmod(home.file(CONFIG), 0o644)
  assert.match((await home.setup(['codex', '--key', 'desk'])).stdout, /others on this machine may read it/)
  await chmod(home.file(CONFIG), 0o600)
  assert.doesNotMatch((await home.setup(['codex', '--key', 'desk'])).stdout, /others on this machine/)
})
