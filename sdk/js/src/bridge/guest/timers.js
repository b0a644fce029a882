export { call } from 'mpkg:bridge/timers@1.0.0';
