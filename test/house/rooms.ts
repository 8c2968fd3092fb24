/** The rooms of the house, and which others each of them may import. docs/architecture.md shows the same table. */
export const rooms: Readonly<Record<string, readonly string[]>> = {
  'config/': [],
  'providers/': ['config/'],
  'src/state/': [],
  'src/usage/': ['src/state/', 'config/'],
  'src/credentials/': ['src/state/', 'config/'],
  'src/accounts/': ['src/credentials/', 'src/state/', 'config/'],
  'src/refresh/': ['src/accounts/', 'src/credentials/', 'src/state/', 'config/'],
  'src/telemetry/': ['src/refresh/', 'src/accounts/', 'src/usage/', 'config/'],
  'src/pool/': ['src/telemetry/', 'src/refresh/', 'src/accounts/', 'src/credentials/', 'config/'],
  'middleware/': ['src/pool/', 'src/telemetry/', 'src/accounts/', 'src/usage/', 'src/network.ts', 'config/'],
  'src/admin/': [
    'middleware/',
    'src/telemetry/',
    'src/accounts/',
    'src/credentials/',
    'src/usage/',
    'config/',
  ],
  'src/login/': ['providers/', 'config/'],
  'src/setup/': ['src/credentials/', 'src/network.ts', 'config/'],
  'src/simulator/': [],
}
