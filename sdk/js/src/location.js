import { call } from '#bridge/device-location';
import { request } from './bridge.js';

export function get({ accuracy } = {}) {
  const { latitude_e7, longitude_e7, accuracy_m } = request(call, 'device.location', { accuracy });
  return { latitude: latitude_e7 / 1e7, longitude: longitude_e7 / 1e7, accuracyMetres: accuracy_m };
}
