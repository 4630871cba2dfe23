/// `NETMAP_REQ_SYNC_KLOOP_START`: runs the sync loop in the calling thread.
package struct StartLoopCall: Hashable, Sendable {
  /// `sleep_us`: the pause between two rounds, microseconds. The server refuses too long a pause.
  package let sleepMicroseconds: UInt32
  /// The descriptors by which the loop and the program wake each other, if any.
  package var eventDescriptors: RequestedEventDescriptors?
  /// How the loop handles events, if the program says so.
  package var mode: RequestedLoopMode?
}
