/** Homographies, 3 x 3 in rows, as CSS wants them. */

export function multiply(a, b) {
  return a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));
}

/** The inverse up to scale (the adjugate), scaled so that its last entry is 1. */
export function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const adjugate = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ];
  return adjugate.map((row) => row.map((value) => value / adjugate[2][2]));
}

/** CSS's matrix3d of a homography between px that are shown `scale` CSS px wide. */
export function matrix3d(homography, scale) {
  const grow = [[scale, 0, 0], [0, scale, 0], [0, 0, 1]];
  const shrink = [[1 / scale, 0, 0], [0, 1 / scale, 0], [0, 0, 1]];
  const m = multiply(multiply(grow, homography), shrink);
  return `matrix3d(${[m[0][0], m[1][0], 0, m[2][0], m[0][1], m[1][1], 0, m[2][1], 0, 0, 1, 0, m[0][2], m[1][2], 0, m[2][2]]})`;
}
