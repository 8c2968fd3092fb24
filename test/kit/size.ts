/** Whether the tests in `slow` run at their whole size: `npm run test:slow`. `npm test` runs a short form of each. */
export const fullSize = process.env.CODEX_POOL_TEST_SIZE === 'full'
