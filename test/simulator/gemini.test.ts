import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import {
  type Fault,
  faults,
  field,
  geminiFaults,
  list,
  type Simulator,
  startSimulator,
  text,
} from '../../src/simulator/index.js'
import { codeAssistCalls } from '../kit/simulator/code-assist-calls.js'
import { onboarding, type Standing } from '../kit/simulator/onboarding.js'

const MODEL = 'gemini-2.5-pro'
const prompt = { role: 'user', parts: [{ text: 'hi' }] }

/** Calls a Code Assist method with the token of an account. */
function call(sim: Simulator, id: string, method: string, body: object): Promise<Response> {
  return fetch(`${sim.url}/v1internal:${method}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${sim.geminiAccount(id).accessToken}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  })
}

function stream(sim: Simulator, id: string, change: object = {}, contents: unknown[] = [prompt]) {
  const request = { contents, session_id: 'session-1' }
  const body = { model: MODEL, project: sim.geminiAccount(id).project, request, ...change }
  return call(sim, id, 'streamGenerateContent?alt=sse', body)
}

function refresh(sim: Simulator, refresh_token: string, client_secret = 'secret') {
  const form = { grant_type: 'refresh_token', client_id: 'client', client_secret, refresh_token }
  return fetch(`${sim.url}/token`, { method: 'POST', body: new URLSearchParams(form) })
}

/** The events of a stream, which must be in the exact wire form. */
function eventsOf(body: string): unknown[] {
  const frames = body.split('\r\n\r\n')
  assert.equal(frames.pop(), '')
  return frames.map((frame) => JSON.parse(/^data: (.+)$/.exec(frame)?.[1] ?? 'null'))
}

const spoken = (events: unknown[]) =>
  events
    .flatMap((event) => list(event, 'response', 'candidates', 0, 'content', 'parts'))
    .map((part) => text(part, 'text') ?? '')
    .join('')

async function withSimulator(
  options: Parameters<typeof startSimulator>[0],
  run: (sim: Simulator) => Promise<void>,
): Promise<void> {
  const sim = await startSimulator(options)
  try {
    await run(sim)
  } finally {
    await sim.close()
  }
}

test('a stream comes in the wire form of Code Assist, counts up, and ends with a finish reason', () =>
  withSimulator({ gemini: [{ id: 'ann' }] }, async (sim) => {
    const response = await stream(sim, 'ann')
    assert.equal(response.status, 200)
    const events = eventsOf(await response.text())
    assert.equal(spoken(events), 'Hello from the simulator.')
    assert.equal(new Set(events.map((event) => field(event, 'traceId'))).size, 1)
    assert.equal(field(events.at(-1), 'response', 'candidates', 0, 'finishReason'), 'STOP')
    const counts = events.map((event) =>
      Number(field(event, 'response', 'usageMetadata', 'candidatesTokenCount')),
    )
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
    )
    assert.deepEqual(sim.violations, [])
  }))

test('a token opens its own project only', () =>
  withSimulator({ gemini: [{ id: 'ann' }, { id: 'ben' }] }, async (sim) => {
    const refused = await stream(sim, 'ben', { project: 'project-ann' })
    assert.equal(refused.status, 403)
    const error = field(await refused.json(), 0, 'error')
    assert.equal(field(error, 'status'), 'PERMISSION_DENIED')
    assert.equal(field(error, 'details', 0, 'reason'), 'CONSUMER_INVALID')

    const bodies = [{ cloudaicompanionProject: 'project-ann' }, { metadata: { duetProject: 'project-ann' } }]
    for (const body of bodies) assert.equal((await call(sim, 'ben', 'loadCodeAssist', body)).status, 403)
    assert.equal((await call(sim, 'ann', 'loadCodeAssist', bodies[0] ?? {})).status, 200)
  }))

test('an ended token is refused until it is refreshed, and Google keeps the refresh token', async () => {
  let now = 1_800_000_000_000
  const gemini = [{ id: 'ann', accessTokenLifetimeMs: 60_000 }]
  await withSimulator({ gemini, now: () => now }, async (sim) => {
    const ann = sim.geminiAccount('ann')
    now += 60_000
    const late = await stream(sim, 'ann')
    assert.equal(late.status, 401)
    assert.equal(field(await late.json(), 0, 'error', 'status'), 'UNAUTHENTICATED')

    const granted: unknown = await (await refresh(sim, ann.refreshToken)).json()
    assert.equal(field(granted, 'access_token'), ann.accessToken)
    assert.equal(field(granted, 'refresh_token'), undefined)
    assert.equal((await stream(sim, 'ann')).status, 200)
    assert.equal((await refresh(sim, ann.refreshToken)).status, 200)
    assert.equal(ann.refreshes, 2)

    ann.revoke()
    const dead = await refresh(sim, ann.refreshToken)
    assert.equal(dead.status, 400)
    assert.equal(field(await dead.json(), 'error'), 'invalid_grant')
    assert.equal((await stream(sim, 'ann')).status, 401)
  })
})

test('the token endpoint asks for the OAuth client that was configured', () =>
  withSimulator(
    { gemini: [{ id: 'ann' }], geminiClient: { id: 'client', secret: 'secret' } },
    async (sim) => {
      const { refreshToken } = sim.geminiAccount('ann')
      assert.equal((await refresh(sim, refreshToken, 'another')).status, 401)
      assert.equal((await refresh(sim, refreshToken)).status, 200)
    },
  ))

test('an account that is not onboarded gets its project after a poll, and generates then', async () => {
  const standings = new Map<string, Standing>([['ann', 'free-tier']])
  await withSimulator(
    { gemini: [{ id: 'ann' }, { id: 'ben' }], upstreams: onboarding(standings) },
    async (sim) => {
      const loaded: unknown = await (await call(sim, 'ann', 'loadCodeAssist', {})).json()
      assert.equal(field(loaded, 'currentTier'), undefined)
      assert.equal(field(loaded, 'allowedTiers', 0, 'id'), 'free-tier')
      assert.equal((await stream(sim, 'ann')).status, 403)

      const withProject = { tierId: 'free-tier', cloudaicompanionProject: 'project-ann' }
      assert.equal((await call(sim, 'ann', 'onboardUser', withProject)).status, 400)
      const started: unknown = await (await call(sim, 'ann', 'onboardUser', { tierId: 'free-tier' })).json()
      assert.equal(field(started, 'done'), false)
      const poll = (id: string) =>
        fetch(`${sim.url}/v1internal/${text(started, 'name')}`, {
          headers: { authorization: `Bearer ${sim.geminiAccount(id).accessToken}` },
        })
      assert.equal((await poll('ben')).status, 404)
      const done: unknown = await (await poll('ann')).json()
      assert.equal(field(done, 'response', 'cloudaicompanionProject', 'id'), 'project-ann')
      assert.equal((await stream(sim, 'ann')).status, 200)
    },
  )
})

test('a retired account is told so at loadCodeAssist and may not generate', () =>
  withSimulator(
    { gemini: [{ id: 'ann' }], upstreams: onboarding(new Map([['ann', 'retired']])) },
    async (sim) => {
      const loaded: unknown = await (await call(sim, 'ann', 'loadCodeAssist', {})).json()
      assert.equal(field(loaded, 'currentTier'), undefined)
      assert.equal(field(loaded, 'ineligibleTiers', 0, 'reasonCode'), 'UNSUPPORTED_CLIENT')
      assert.equal((await stream(sim, 'ann')).status, 403)
    },
  ))

test('each model has a quota of its own, which use empties and its reset fills', async () => {
  let now = 1_800_000_000_000
  const gemini = [{ id: 'ann', accessTokenLifetimeMs: 86_400_000 }]
  await withSimulator({ gemini, now: () => now }, async (sim) => {
    const ann = sim.geminiAccount('ann')
    const left = async () => {
      const quota: unknown = await (
        await call(sim, 'ann', 'retrieveUserQuota', { project: ann.project })
      ).json()
      return list(quota, 'buckets').find((bucket) => field(bucket, 'modelId') === MODEL)
    }
    await stream(sim, 'ann')
    assert.equal(field(await left(), 'remainingFraction'), 0.99)
    ann.exhaust({ model: MODEL, resetsAt: now + 3_723_000 })
    const refused = await stream(sim, 'ann')
    assert.equal(refused.status, 429)
    const error = field(await refused.json(), 0, 'error')
    assert.match(text(error, 'message') ?? '', /exhausted your capacity .* reset after 1h2m3s/)
    assert.equal(field(error, 'details', 0, 'reason'), 'QUOTA_EXHAUSTED')
    assert.equal(field(error, 'details', 1, 'retryDelay'), '3723s')
    assert.equal((await stream(sim, 'ann', { model: 'gemini-2.5-flash' })).status, 200)
    now += 3_723_000
    assert.equal((await stream(sim, 'ann')).status, 200)
  })
})

test('a conversation finds its own past in the cache of its account, and of no other', () =>
  withSimulator({ gemini: [{ id: 'ann' }, { id: 'ben' }] }, async (sim) => {
    const long = { role: 'user', parts: [{ text: 'x'.repeat(5000) }] }
    const cached = async (id: string) => {
      const last = eventsOf(await (await stream(sim, id, {}, [long])).text()).at(-1)
      return field(last, 'response', 'usageMetadata', 'cachedContentTokenCount')
    }
    assert.equal(await cached('ann'), undefined)
    assert.ok(Number(await cached('ann')) > 0)
    assert.equal(await cached('ben'), undefined)
  }))

test('a script calls a tool and sees its answer; a thought signature is bound to its account', () =>
  withSimulator({ gemini: [{ id: 'ann' }, { id: 'ben' }], strictHistory: true }, async (sim) => {
    sim.reply(({ toolOutputs }) =>
      toolOutputs.length > 0
        ? `The tool said ${toolOutputs[0]}`
        : [{ call: 'list', arguments: { dir: '.' } }],
    )
    const [first] = eventsOf(await (await stream(sim, 'ann')).text())
    const part = field(first, 'response', 'candidates', 0, 'content', 'parts', 0)
    assert.deepEqual(field(part, 'functionCall', 'args'), { dir: '.' })

    const response = { functionResponse: { name: 'list', response: { output: 'a b c' } } }
    const history = [prompt, { role: 'model', parts: [part] }, { role: 'user', parts: [response] }]
    const again = eventsOf(await (await stream(sim, 'ann', {}, history)).text())
    assert.equal(spoken(again), 'The tool said a b c')
    const foreign = await stream(sim, 'ben', {}, history)
    assert.equal(foreign.status, 400)
    assert.equal(field(await foreign.json(), 0, 'error', 'message'), 'Corrupted thought signature.')
  }))

test('metrics that name the stream of another account are a violation', () =>
  withSimulator({ gemini: [{ id: 'ann' }, { id: 'ben' }], upstreams: codeAssistCalls }, async (sim) => {
    const traceId = field(eventsOf(await (await stream(sim, 'ann')).text())[0], 'traceId')
    const metrics = [{ conversationOffered: { traceId } }]
    await call(sim, 'ann', 'recordCodeAssistMetrics', { metrics })
    assert.deepEqual(sim.violations, [])
    await call(sim, 'ben', 'recordCodeAssistMetrics', { metrics })
    assert.deepEqual(sim.violations, [
      'POST /v1internal:recordCodeAssistMetrics: traceId of ann sent for ben',
    ])
  }))

test('a request that demands JSON gets what its schema asks for, not the script', () =>
  withSimulator({ gemini: [{ id: 'ann' }] }, async (sim) => {
    const properties = {
      reasoning: { type: 'string' },
      model_choice: { type: 'string', enum: ['flash', 'pro'] },
    }
    const generationConfig = {
      responseMimeType: 'application/json',
      responseJsonSchema: { type: 'object', properties },
    }
    const body = { model: MODEL, project: 'project-ann', request: { contents: [prompt], generationConfig } }
    const answer: unknown = await (await call(sim, 'ann', 'generateContent', body)).json()
    const parts = list(answer, 'response', 'candidates', 0, 'content', 'parts')
    const said = parts.map((part) => text(part, 'text') ?? '').join('')
    assert.deepEqual(JSON.parse(said), { reasoning: 'simulated', model_choice: 'flash' })
  }))

test('an API key opens the Gemini API, as a header only', () =>
  withSimulator({ gemini: [{ id: 'ann' }], geminiApiKeys: [{ id: 'key' }] }, async (sim) => {
    const url = `${sim.url}/v1beta/models/${MODEL}:streamGenerateContent?alt=sse`
    const post = (address: string, headers: Record<string, string>) =>
      fetch(address, { method: 'POST', headers, body: JSON.stringify({ contents: [prompt] }) })
    const key = sim.gemini.apiKeys[0]?.key ?? ''
    const response = await post(url, { 'x-goog-api-key': key })
    assert.equal(response.status, 200)
    const events = eventsOf(await response.text())
    assert.equal(field(events[0], 'candidates', 0, 'content', 'parts', 0, 'text'), 'Hello ')
    assert.equal(sim.requests[0]?.account, 'key')
    assert.deepEqual(sim.violations, [])

    const refused = await post(`${url}&key=${key}`, { authorization: `Bearer ${key}` })
    assert.equal(refused.status, 400)
    assert.equal(field(await refused.json(), 'error', 'details', 0, 'reason'), 'API_KEY_INVALID')
    assert.deepEqual(sim.violations, [
      `POST /v1beta/models/${MODEL}:streamGenerateContent: header authorization`,
      `POST /v1beta/models/${MODEL}:streamGenerateContent: query parameter key`,
    ])
    const models: unknown = await (
      await fetch(`${sim.url}/v1beta/models`, { headers: { 'x-goog-api-key': key } })
    ).json()
    assert.ok(list(models, 'models').some((model) => field(model, 'name') === `models/${MODEL}`))
  }))

const refusals: [name: string, fault: Fault, status: number, sign: RegExp][] = [
  ['a limit that passes', geminiFaults.rateLimited(2.5), 429, /RATE_LIMIT_EXCEEDED.*"retryDelay":"2.5s"/],
  ['a limit without a delay', geminiFaults.rateLimited(), 429, /RATE_LIMIT_EXCEEDED/],
  ['a used-up quota', geminiFaults.quotaExhausted(), 429, /QUOTA_EXHAUSTED.*"retryDelay":"3723s"/],
  ['a daily quota', geminiFaults.dailyQuota(), 429, /PerDay/],
  ['a limit without details', geminiFaults.bare(), 429, /Please retry in 3s/],
  ['no capacity', geminiFaults.capacity(503), 503, /MODEL_CAPACITY_EXHAUSTED/],
  ['an ended token', geminiFaults.unauthorized(), 401, /UNAUTHENTICATED/],
  ['a person to be verified', geminiFaults.validationRequired(), 403, /VALIDATION_REQUIRED/],
  ['trouble', geminiFaults.serverError(503), 503, /UNAVAILABLE/],
  ['a limit as a list', geminiFaults.asList(geminiFaults.rateLimited(1)), 429, /^\[\{"error"/],
  ['an error in the stream', geminiFaults.errorEvent(), 200, /^data: \{"error"/],
  ['trouble in HTML', faults.badGateway(), 502, /<h1>Bad gateway/],
]

for (const [name, fault, status, sign] of refusals) {
  test(`a scripted fault answers with ${name}, once`, () =>
    withSimulator({ gemini: [{ id: 'ann' }] }, async (sim) => {
      sim.fail({ account: 'ann', path: ':streamGenerateContent', with: fault })
      const response = await stream(sim, 'ann')
      assert.equal(response.status, status)
      assert.match(await response.text(), sign)
      assert.equal((await stream(sim, 'ann')).status, 200)
    }))
}

test('settings, token counts, experiments and admin controls are answered', () =>
  withSimulator({ gemini: [{ id: 'ann' }], upstreams: codeAssistCalls }, async (sim) => {
    const counted = await call(sim, 'ann', 'countTokens', {
      request: { model: `models/${MODEL}`, contents: [prompt] },
    })
    assert.ok(Number(field(await counted.json(), 'totalTokens')) > 0)
    await call(sim, 'ann', 'setCodeAssistGlobalUserSetting', { freeTierDataCollectionOptin: false })
    const setting = await fetch(`${sim.url}/v1internal:getCodeAssistGlobalUserSetting`, {
      headers: { authorization: `Bearer ${sim.geminiAccount('ann').accessToken}` },
    })
    assert.equal(field(await setting.json(), 'freeTierDataCollectionOptin'), false)
    assert.equal((await call(sim, 'ann', 'listExperiments', { project: 'project-ann' })).status, 200)
    assert.equal((await call(sim, 'ann', 'fetchAdminControls', { project: 'project-ann' })).status, 200)
    assert.equal((await call(sim, 'ann', 'nothing', {})).status, 404)
  }))

test('the pool gets a gemini_ file for each account and key', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'simulator-'))
  try {
    await withSimulator({ gemini: [{ id: 'ann' }], geminiApiKeys: [{ id: 'key' }] }, async (sim) => {
      const paths = await sim.writePool(dir)
      assert.deepEqual(
        paths.map((path) => basename(path)),
        ['gemini_ann.json', 'gemini_key.json'],
      )
      const [ann, key] = await Promise.all(
        paths.map(async (path) => JSON.parse(await readFile(path, 'utf8'))),
      )
      assert.equal(field(ann, 'access_token'), sim.geminiAccount('ann').accessToken)
      assert.ok(Number(field(ann, 'expiry_date')) > Date.now())
      assert.deepEqual(key, { api_key: 'gemini-sim-key' })
    })
  } finally {
    await rm(dir, { recursive: true })
  }
})
