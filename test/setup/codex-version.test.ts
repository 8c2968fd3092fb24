import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { test, type TestContext } from 'node:test'
import { installedCodex } from '../../src/setup/codex-version.js'
import { Home } from '../kit/setup.js'

/** A home with a `codex` on the PATH that does what the script says. */
async function withCodex(t: TestContext, script: string): Promise<{ home: Home; PATH: string }> {
  const home = await Home.create(t, { 'bin/codex': `#!/bin/sh\n${script}\n`, '.codex/auth.json': '{}' })
  await chmod(home.file('bin/codex'), 0o755)
  return { home, PATH: `${home.file('bin')}:/usr/bin:/bin` }
}

const SAYS_UNKNOWN = /the version of Codex is not known.* --provider/
const OLD = /Codex 0\.1\d\d\.\S+ is installed, so this is the form as a provider/

const versions: [script: string, form: 'openai_base_url' | 'model_provider', note: RegExp | undefined][] = [
  ['echo codex-cli 0.100.0', 'model_provider', OLD],
  ['echo codex-cli 0.117.0', 'model_provider', OLD],
  ['echo codex 0.114.0-alpha.2', 'model_provider', OLD],
  ['echo codex-cli 0.118.0', 'openai_base_url', undefined],
  ['echo WARNING: no helpers >&2; echo codex-cli 0.169.0', 'openai_base_url', undefined],
  ['echo codex-cli 1.0.0', 'openai_base_url', undefined],
  ['echo something else', 'openai_base_url', SAYS_UNKNOWN],
  ['echo codex-cli 0.100.0; exit 1', 'openai_base_url', SAYS_UNKNOWN],
]

for (const [script, key, note] of versions)
  test(`setup codex writes the form that the installed version knows: ${script}`, async (t) => {
    const { home, PATH } = await withCodex(t, script)
    const { code, stdout, stderr } = await home.setup(['codex'], { PATH })
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    assert.ok((await home.read('.codex/config.toml')).startsWith(`${key} = `))
    if (note) assert.match(stdout, note)
    else assert.doesNotMatch(stdout, /installed|version/)
    assert.equal((await home.setup(['codex', '--undo'], { PATH })).code, 0)
    assert.deepEqual(await home.list('.codex'), ['auth.json'])
  })

test('setup codex says so where no Codex is installed, and writes the form of today', async (t) => {
  const home = await Home.create(t)
  const { stdout } = await home.setup(['codex'], { PATH: home.path })
  assert.match(stdout, SAYS_UNKNOWN)
  assert.match(await home.read('.codex/config.toml'), /^openai_base_url = /)
})

test('a form that is asked for is written whatever is installed, and --undo asks for no version', async (t) => {
  const { home, PATH } = await withCodex(t, 'touch "$HOME/ran"; echo codex-cli 0.100.0')
  for (const args of [['--no-login'], ['--provider'], ['--undo']]) {
    const { stdout } = await home.setup(['codex', ...args], { PATH })
    assert.doesNotMatch(stdout, /installed/)
  }
  assert.deepEqual(await home.list('.'), ['.codex', 'bin', 'work'])
})

test('a codex that never ends is not waited for', async (t) => {
  const { PATH } = await withCodex(t, 'exec sleep 600')
  const before = process.env.PATH
  process.env.PATH = PATH
  t.after(() => {
    process.env.PATH = before
  })
  assert.equal(await installedCodex(200), undefined)
})
