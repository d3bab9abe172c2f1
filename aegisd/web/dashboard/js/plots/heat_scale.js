// The colours of the heat map: one hue path whose lightness only grows, so that the colour-blind, and
// a print in black and white, show the same order. Pure.

const STEPS = 64;
// Lightness, chroma and hue (OKLCH) at both ends; faint is next to the page's background.
const LIGHT = { faint: [0.93, 0.05, 105], full: [0.28, 0.13, 290] };
const DARK = { faint: [0.3, 0.11, 290], full: [0.93, 0.14, 105] };

/** The colours from faint to full, each "rgb(r, g, b)", for a light or a dark page. */
export function scale(isDark) {
  const { faint, full } = isDark ? DARK : LIGHT;
  return Array.from({ length: STEPS }, (_, i) => {
    const share = i / (STEPS - 1);
    const [lightness, chroma, hue] = faint.map((value, k) => value + (full[k] - value) * share);
    // Chroma is highest in the middle, as screens have most of it there.
    return rgb(lightness, chroma + 0.06 * Math.sin(Math.PI * share), hue);
  });
}

/** The place of a count in the scale: by its logarithm, since counts range over magnitudes. */
export function placeOf(count, most) {
  if (!(count > 0)) return -1;
  if (most <= 1) return STEPS - 1;
  return Math.round((Math.log(count) / Math.log(most)) * (STEPS - 1));
}

/** OKLCH as sRGB (Björn Ottosson's matrices). */
function rgb(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const [a, b] = [chroma * Math.cos(angle), chroma * Math.sin(angle)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return `rgb(${linear.map(encoded).join(", ")})`;
}

function encoded(value) {
  const clipped = Math.min(Math.max(value, 0), 1);
  const gamma = clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055;
  return Math.round(gamma * 255);
}
