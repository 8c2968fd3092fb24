import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import {
  field,
  geminiFaults,
  list,
  type Simulator,
  type SimulatorOptions,
  startSimulator,
  text,
  type WireFault,
} from '../../src/simulator/index.js'

const MODEL = 'gemini-2.5-pro'
const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]
const two: SimulatorOptions = { geminiApiKeys: [{ id: 'gina' }, { id: 'hugo' }] }

async function simulate(t: TestContext, options: SimulatorOptions): Promise<Simulator> {
  const sim = await startSimulator(options)
  t.after(() => sim.close())
  return sim
}

const keyOf = (sim: Simulator, id: string) => sim.gemini.apiKeys.find((key) => key.id === id)?.key ?? ''

interface Init {
  readonly method?: string
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

function call(sim: Simulator, id: string, path: string, init: Init = {}) {
  const { method = 'POST', body } = init
  const headers = { 'x-goog-api-key': keyOf(sim, id), 'content-type': 'application/json', ...init.headers }
  return fetch(sim.url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) })
}

const generate = (sim: Simulator, id: string, more: object = {}, query = '?alt=sse') =>
  call(sim, id, `/v1beta/models/${MODEL}:streamGenerateContent${query}`, { body: { contents, ...more } })

const refusals: [name: string, fault: WireFault, status: number, sign: RegExp][] = [
  ['its plan', geminiFaults.plan(), 403, /not available on the free tier/],
  [
    'its country',
    geminiFaults.country(),
    400,
    /User location is not supported.*FAILED_PRECONDITION|FAILED_PRECONDITION/,
  ],
  ['its billing', geminiFaults.billing(), 403, /BILLING_DISABLED/],
  ['spent prepayment', geminiFaults.prepayment(), 403, /prepayment credits are depleted/],
  ['spent prepayment, 400', geminiFaults.prepayment(400), 400, /prepayment credits are depleted/],
  ['a switched-off API', geminiFaults.disabled(), 403, /SERVICE_DISABLED/],
  ['a leak', geminiFaults.leaked(), 403, /reported as leaked/],
  ['404', geminiFaults.notFound(), 404, /NOT_FOUND/],
]
for (const [name, fault, status, sign] of refusals)
  test(`a key is refused for ${name} while another serves`, async (t) => {
    const sim = await simulate(t, two)
    sim.fail({ account: 'gina', with: fault, times: Infinity })
    const refused = await generate(sim, 'gina')
    assert.equal(refused.status, status)
    assert.match(await refused.text(), sign)
    assert.equal((await generate(sim, 'hugo')).status, 200)
  })

test('a refusal may come as the first event of a stream, or late', async (t) => {
  const sim = await simulate(t, two)
  for (const after of [0, 2]) {
    sim.fail({ with: geminiFaults.inStream(geminiFaults.prepayment(), { after, afterMs: 5 }) })
    const response = await generate(sim, 'gina')
    assert.equal(response.status, 200)
    const events = (await response.text()).split('\r\n\r\n').slice(0, -1)
    assert.equal(events.length, after + 1)
    assert.match(events.at(-1) ?? '', /^data: \{"error":\{"code":403/)
  }
})

test('a stream may be empty: tokens are counted and nothing is said', async (t) => {
  const sim = await simulate(t, { ...two, gemini: [{ id: 'ann' }] })
  sim.fail({ with: geminiFaults.empty() })
  const body = await (await generate(sim, 'gina')).text()
  assert.match(body, /^data: \{"usageMetadata":\{"promptTokenCount"/)
  assert.doesNotMatch(body, /"candidates"/)
  sim.fail({ with: geminiFaults.empty() })
  const wrapped = await fetch(`${sim.url}/v1internal:streamGenerateContent?alt=sse`, {
    method: 'POST',
    headers: { authorization: `Bearer ${sim.geminiAccount('ann').accessToken}` },
    body: JSON.stringify({ model: MODEL, project: 'project-ann', request: { contents } }),
  })
  assert.match(await wrapped.text(), /^data: \{[^\n]*"response":\{"usageMetadata"[^\n]*\}\r\n\r\n$/)
})

test('a stream without alt=sse is a list that grows, and may be cut', async (t) => {
  const sim = await simulate(t, two)
  const response = await generate(sim, 'gina', {}, '')
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/)
  const events: unknown = await response.json()
  assert.ok(Array.isArray(events) && events.length > 2)
  sim.fail({ with: { ending: 'end', after: 1 } })
  const cut = await (await generate(sim, 'gina', {}, '')).text()
  assert.throws(() => JSON.parse(cut))
})

test('a project may be refused later', async (t) => {
  const sim = await simulate(t, { gemini: [{ id: 'ann' }] })
  const ann = sim.geminiAccount('ann')
  const ask = (project: string) =>
    fetch(`${sim.url}/v1internal:generateContent`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ann.accessToken}` },
      body: JSON.stringify({ model: MODEL, project, request: { contents } }),
    })
  assert.equal((await ask('project-ann')).status, 200)
  ann.project = 'project-new'
  const refused = await ask('project-ann')
  assert.equal(refused.status, 403)
  assert.match(await refused.text(), /CONSUMER_INVALID/)
  assert.equal((await ask('project-new')).status, 200)
})

test('a file is uploaded in two requests, and only its key knows it', async (t) => {
  const sim = await simulate(t, two)
  const begun = await call(sim, 'gina', '/upload/v1beta/files', {
    body: { file: { displayName: 'notes' } },
    headers: { 'x-goog-upload-protocol': 'resumable', 'x-goog-upload-command': 'start' },
  })
  const second = begun.headers.get('x-goog-upload-url') ?? ''
  assert.match(second, /^http:\/\/127\.0\.0\.1:\d+\/upload\/v1beta\/files\?upload_id=/)
  const last = { 'x-goog-upload-command': 'upload, finalize', 'x-goog-upload-offset': '0' }
  const sent = await fetch(second, { method: 'POST', body: 'some bytes', headers: last })
  const done: unknown = await sent.json()
  assert.equal(sim.requests.at(-1)?.account, 'gina')
  assert.deepEqual([field(done, 'file', 'sizeBytes'), field(done, 'file', 'displayName')], ['10', 'notes'])
  const name = text(done, 'file', 'name') ?? ''
  const path = `/v1beta/${name}`
  assert.equal((await call(sim, 'gina', path, { method: 'GET' })).status, 200)
  const refused = await call(sim, 'hugo', path, { method: 'GET' })
  assert.equal(refused.status, 403)
  assert.match(await refused.text(), /do not have permission to access the File/)
  const parts = [{ fileData: { fileUri: text(done, 'file', 'uri') } }]
  const named = { contents: [{ role: 'user', parts }] }
  assert.equal((await generate(sim, 'gina', named)).status, 200)
  assert.equal((await generate(sim, 'hugo', named)).status, 403)
  const listed: unknown = await (await call(sim, 'hugo', '/v1beta/files', { method: 'GET' })).json()
  assert.deepEqual(list(listed, 'files'), [])
  assert.equal((await call(sim, 'gina', path, { method: 'DELETE' })).status, 200)
  assert.equal((await call(sim, 'gina', path, { method: 'GET' })).status, 403)
})

test('a cached content is known to its key only', async (t) => {
  const sim = await simulate(t, two)
  const made: unknown = await (
    await call(sim, 'gina', '/v1beta/cachedContents', { body: { model: `models/${MODEL}`, contents } })
  ).json()
  const cachedContent = text(made, 'name')
  assert.match(cachedContent ?? '', /^cachedContents\//)
  assert.equal((await generate(sim, 'gina', { cachedContent })).status, 200)
  const refused = await generate(sim, 'hugo', { cachedContent })
  assert.equal(refused.status, 403)
  assert.match(await refused.text(), /CachedContent not found/)
})

test('the OpenAI-compatible paths take the key as a bearer token', async (t) => {
  const sim = await simulate(t, two)
  const ask = (key: string, more: object = {}) =>
    fetch(`${sim.url}/v1beta/openai/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'hi' }], ...more }),
    })
  const whole: unknown = await (await ask(keyOf(sim, 'gina'))).json()
  assert.equal(field(whole, 'choices', 0, 'message', 'content'), 'Hello from the simulator.')
  assert.ok(Number(field(whole, 'usage', 'prompt_tokens')) > 0)
  const stream = await (await ask(keyOf(sim, 'gina'), { stream: true })).text()
  assert.match(stream, /^data: \{"id":"chatcmpl-sim-.*"delta":\{"role":"assistant","content":"Hello "\}/)
  assert.ok(stream.endsWith('data: [DONE]\n\n'))
  assert.equal((await ask('of-nobody')).status, 400)
  assert.deepEqual(sim.violations, [])
  assert.equal(sim.requests[0]?.account, 'gina')
})

test('a login is refreshed only by the client that issued it', async (t) => {
  const client = { id: 'gcloud', secret: 'its-secret' }
  const sim = await simulate(t, { gemini: [{ id: 'ann', client }] })
  const adc = sim.geminiAccount('ann').adcJson()
  assert.equal(field(adc, 'type'), 'authorized_user')
  const refresh = (client_id: string) =>
    fetch(`${sim.url}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        client_id,
        client_secret: client.secret,
        refresh_token: text(adc, 'refresh_token') ?? '',
      }),
    })
  assert.equal((await refresh('another')).status, 401)
  assert.equal((await refresh('gcloud')).status, 200)
})
