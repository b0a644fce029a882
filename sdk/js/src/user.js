import { call } from '#bridge/user-profile';
import { request } from './bridge.js';

export function profile() {
  const { id, display_name, locale } = request(call, 'user.profile');
  return { id, displayName: display_name, locale };
}
