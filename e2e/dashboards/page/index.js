// Grafana's components translate their texts as soon as they are loaded, so the translations come first.
import { initPluginTranslations } from '@grafana/i18n';

await initPluginTranslations('pace');
await import('./page.jsx');
