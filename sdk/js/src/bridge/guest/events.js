export { call } from 'mpkg:bridge/events@1.0.0';
