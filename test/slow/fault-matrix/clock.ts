/** When everything in the matrix happens: on a whole second, and far from midnight on the Pacific. ms since 1970. */
export const NOW = Date.UTC(2030, 6, 1, 18)
