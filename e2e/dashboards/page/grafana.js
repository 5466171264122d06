// What Grafana's server sets up before its panels are drawn, and its packages leave to others.
import {
  createTheme, FieldConfigOptionsRegistry, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers,
  standardTransformersRegistry,
} from '@grafana/data';

export const theme = createTheme({ colors: { mode: 'dark' } });

// registerAll names the options of fields and the transformations. In Grafana this comes with their editors.
export function registerAll() {
  standardEditorsRegistry.setInit(() => []);
  standardFieldConfigEditorRegistry.setInit(() => options);
  standardTransformersRegistry.setInit(() => [...new Map(Object.values(standardTransformers).map((t) => [t.id, t])).values()].map((t) => ({
    id: t.id, name: t.name, transformation: () => Promise.resolve(t), editor: () => null,
  })));
}

const option = (path, isCustom = false) => ({
  id: isCustom ? `custom.${path}` : path, path, name: path, isCustom, process: (value) => value, shouldApply: () => true,
});

const options = [
  ...['unit', 'min', 'max', 'decimals', 'displayName', 'color', 'thresholds', 'mappings', 'noValue', 'links'].map((o) => option(o)),
];

// The defaults of the options that the panels "timeseries" and "table" have of their own.
const custom = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto', pointSize: 5,
    spanNulls: false, insertNulls: false, stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisColorMode: 'text',
    axisCenteredZero: false, axisBorderShow: false, barAlignment: 0, barWidthFactor: 0.6, scaleDistribution: { type: 'linear' },
    thresholdsStyle: { mode: 'off' }, hideFrom: { tooltip: false, viz: false, legend: false }, lineStyle: { fill: 'solid' },
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false, width: undefined, hidden: false, filterable: false },
  stat: {},
};

// registryOf returns the options that the fields of a kind of panel can have.
export const registryOf = (type) => new FieldConfigOptionsRegistry(() => [...options, ...Object.keys(custom[type]).map((o) => option(o, true))]);

// fieldConfigOf returns the panel's configuration of fields, with Grafana's defaults where it says nothing.
export function fieldConfigOf(panel) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const color = { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  const thresholds = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] };
  return {
    defaults: {
      ...defaults,
      color: defaults.color ?? color,
      thresholds: defaults.thresholds ? absolute(defaults.thresholds) : thresholds,
      custom: { ...custom[panel.type], ...defaults.custom },
    },
    overrides,
  };
}

// absolute gives the first step the value that JSON cannot write.
const absolute = (t) => ({ ...t, steps: t.steps.map((s) => ({ ...s, value: s.value ?? -Infinity })) });
