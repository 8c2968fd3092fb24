import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import test, { after, before } from 'node:test'
import { readmeFile, root } from '../kit/readme-blocks.js'
import { commonJs, tsconfig, types, withExpress } from './consumer.js'
import { environment, Installed } from './installed.js'

let product: Installed
before(async () => {
  product = await Installed.create()
})
after(() => product.remove())

test('the package holds what runs, its manual and its licence, and nothing else', async (t) => {
  const { stdout } = await product.run('tar', '-tzf', product.tarball)
  const files = stdout.trim().split('\n')
  for (const file of ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/src/index.d.ts', 'docs/failover.md'])
    assert.ok(files.includes(`package/${file}`), file)
  assert.deepEqual(
    files.filter((file) => /\/test\/|\.test\.|\.map$|(?<!\.d)\.ts$|^package\/(pool|data)\//.test(file)),
    [],
  )
  const { bytes, packages } = await product.size()
  t.diagnostic(`installed: ${(bytes / 1024 / 1024).toFixed(1)} MB in ${packages} packages`)
})

test('npx codex-pool --version tells the version', async () => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  const { stdout } = await product.run('npx', '--no-install', 'codex-pool', '--version')
  assert.equal(stdout.trim(), version)
})

test('npx codex-pool --config reads TypeScript from a folder without node_modules', async () => {
  const elsewhere = await mkdtemp(join(product.path, 'elsewhere-'))
  await writeFile(join(elsewhere, 'my.config.ts'), readmeFile('codex-pool.config.ts'))
  const config = join(elsewhere, 'my.config.ts')
  const { stdout } = await product.run('npx', '--no-install', 'codex-pool', 'check', '--config', config)
  const { file, routes } = JSON.parse(stdout) as { file: string; routes: { path: string }[] }
  assert.equal(file, config)
  assert.equal(routes[1]?.path, '/azure')
})

test('codex-pool --demo serves until it is told to end, and leaves nothing behind', async () => {
  const temporary = join(product.path, 'tmp')
  await mkdir(temporary)
  const demo = spawn('node_modules/.bin/codex-pool', ['--demo', '--listen', '127.0.0.1:0'], {
    cwd: product.app,
    env: { ...environment(), TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let url: string | undefined
  for await (const line of createInterface(demo.stdout)) {
    url ??= /^codex-pool listening on (\S+)$/.exec(line)?.[1]
    if (line.startsWith('It stays up')) break
  }
  const health = await fetch(`${url}/healthz`)
  assert.equal(health.status, 200)
  await health.text()
  demo.kill('SIGTERM')
  assert.deepEqual(await once(demo, 'exit'), [0, null])
  assert.deepEqual(await readdir(temporary), [])
})

const useIt = `createGateway({ database: false, poolDir: './none' }, { env: {} }).then((gateway) => gateway.close())`

test('ES modules import it', async () => {
  await product.write({
    'esm.mjs': `import { createGateway } from 'codex-pool'; import 'codex-pool/testing'; await ${useIt}`,
  })
  await product.run('node', 'esm.mjs')
})

test('CommonJS requires it', async () => {
  await product.write({
    'common.cjs': `const { createGateway } = require('codex-pool'); require('codex-pool/testing'); ${useIt}`,
  })
  await product.run('node', 'common.cjs')
})

test('strict TypeScript compiles against it, without the types of Express and with them', async () => {
  await product.add('typescript', '@types/node')
  await product.write({
    'types/types.ts': types,
    'types/common.cts': commonJs,
    'types/tsconfig.json': tsconfig('.'),
  })
  await product.run('npx', '--no-install', 'tsc', '-p', 'types').catch(failWithOutput)
  await product.add('@types/express')
  await product.write({ 'express/express.ts': withExpress, 'express/tsconfig.json': tsconfig('.') })
  await product.run('npx', '--no-install', 'tsc', '-p', 'express').catch(failWithOutput)
})

test('the test and the embedding that the README shows run against it', async () => {
  await product.add('typescript', 'express', 'supertest', '@types/node', '@types/express', '@types/supertest')
  await product.write({
    'codex-pool.config.ts': readmeFile('codex-pool.config.ts'),
    'pool.test.ts': readmeFile('pool.test.ts'),
    'app.ts': readmeFile('app.ts').replace('listen(3000)', 'listen(0, () => process.kill(process.pid))'),
    'tsconfig.json': JSON.stringify({
      compilerOptions: { module: 'nodenext', target: 'es2022', strict: true, types: ['node'] },
      include: ['*.ts'],
    }),
  })
  await product.run('npx', '--no-install', 'tsc', '-p', '.').catch(failWithOutput)
  const { stdout } = await product.run('node', '--test', 'pool.test.js')
  assert.match(stdout, /^. pass 1$/m)
  await product.run('node', 'app.js')
})

test('publint and are-the-types-wrong have nothing to say', async () => {
  const tools = join(root, 'node_modules/.bin')
  const folder = join(product.app, 'node_modules/codex-pool')
  await product
    .run(join(tools, 'publint'), 'run', folder, '--pack', 'false', '--strict')
    .catch(failWithOutput)
  await product.run(join(tools, 'attw'), product.tarball, '--profile', 'esm-only').catch(failWithOutput)
})

function failWithOutput(error: Error & { stdout?: string; stderr?: string }): never {
  assert.fail(`${error.message}\n${error.stdout}\n${error.stderr}`)
}
