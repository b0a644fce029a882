export { call } from 'mpkg:bridge/notifications@1.0.0';
