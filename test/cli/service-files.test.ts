import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { launchdPlist, systemdUnit } from '../../src/cli/service-files.js'
import { emptyFolder } from '../kit/command.js'

const service = (folder: string) => ({
  command: [process.execPath, '/opt/a "b" 100% $HOME\\/bin.js', '--listen', '127.0.0.1:8989'],
  folder,
  environment: { CODEX_POOL_HOME: folder, HTTPS_PROXY: 'http://me:p%40ss"<&>@proxy:3128' },
})

const analyze = (file: string, runtime: string, ...args: string[]) =>
  spawnSync('systemd-analyze', ['--user', ...args, file], {
    encoding: 'utf8',
    env: { ...process.env, XDG_RUNTIME_DIR: runtime },
  })
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0

test('systemd finds no fault in the unit, with any path', { skip: !hasSystemd }, async (t) => {
  const folder = await emptyFolder(t)
  await mkdir(join(folder, 'run'))
  const file = join(folder, 'codex-pool.service')
  await writeFile(file, systemdUnit(service(folder)))
  const { status, stderr, stdout } = analyze(file, join(folder, 'run'), 'verify')
  assert.deepEqual([status, stdout + stderr], [0, ''])
})

test('the unit quotes what systemd would read as its own', () => {
  const unit = systemdUnit(service('/home/100%'))
  assert.match(unit, /^ExecStart="[^"]+" "\/opt\/a \\"b\\" 100%% \$\$HOME\\\\\/bin\.js" "--listen"/m)
  assert.match(unit, /^WorkingDirectory=\/home\/100%%$/m)
  assert.match(unit, /^Environment="HTTPS_PROXY=http:\/\/me:p%%40ss\\"<&>@proxy:3128"$/m)
})

test('the property list escapes what XML would read as its own', () => {
  const plist = launchdPlist(service('/Users/a & b'), 'codex-pool', '/log')
  assert.match(plist, /<key>WorkingDirectory<\/key><string>\/Users\/a &amp; b<\/string>/)
  assert.match(plist, /p%40ss"&lt;&amp;&gt;@proxy/)
})
