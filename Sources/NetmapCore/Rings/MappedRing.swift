/// A ring in the process that syncs it: one pointer to this process's addresses of everything a sync needs.
///
/// A pointer, so that calls pass it in a register and load only the fields that they use. It owns nothing: the
/// ``MappedPort`` owns the memory and must outlive it.
@unsafe @usableFromInline
package struct MappedRing {
  @usableFromInline let parts: UnsafePointer<RingParts>

  package init(_ parts: UnsafePointer<RingParts>) {
    unsafe self.parts = parts
  }

  /// Creates a ring from the argument of a ring driver's function (``RingDriverFunction/Synchronize``).
  package init(calledWith ring: UnsafeRawPointer) {
    unsafe parts = ring.assumingMemoryBound(to: RingParts.self)
  }

  @inlinable package var ring: Ring { unsafe parts.pointee.ring }
  @inlinable package var kring: KRing { unsafe parts.pointee.kring }
  package var direction: Direction { unsafe parts.pointee.direction }
  package var kind: RingKind { unsafe parts.pointee.kind }
  package var peerRing: Ring { unsafe parts.pointee.peerRing }
  package var peerKRing: KRing { unsafe parts.pointee.peerKRing }
  package var tag: ClientTag { unsafe parts.pointee.tag }
  package var waitWord: WaitWord { unsafe parts.pointee.waitWord }
  package var doorbells: DoorbellTable.View { unsafe parts.pointee.doorbells }
  package var backend: RingDriverFunction { unsafe parts.pointee.backend }
  package var stampsAlways: Bool { unsafe parts.pointee.stampsAlways }
}

/// The data that an ``MappedRing`` points to.
///
/// Plain data, built once by ``MappedPort`` from mappings and descriptors, in the same way in an embedded
/// engine and in a client of a daemon.
@unsafe @usableFromInline
package struct RingParts {
  @usableFromInline package let ring: Ring
  @usableFromInline package let kring: KRing
  package let direction: Direction
  package let kind: RingKind

  /// The ring at the other end of a pipe; this ring itself if there is no other end.
  package let peerRing: Ring
  package let peerKRing: KRing

  /// The client that takes the ring's lock.
  package let tag: ClientTag

  /// The wait word in which a sleeper that waits for progress of this ring announces itself.
  package var waitWord: WaitWord

  /// The doorbells of sleepers, by number.
  package let doorbells: DoorbellTable.View

  /// The ring driver, which moves the packets of a ring of kind ``RingKind/backend``.
  package var backend: RingDriverFunction

  /// The switch path, which forwards the packets of a ring of kind ``RingKind/vale``; nil while the port is on
  /// no switch.
  var switching: UnsafePointer<SwitchPath>?

  /// Where syncs find the memory of monitors; nil in a process that copies packets to none.
  var monitors: UnsafePointer<MonitorTable.View>?

  /// False when syncs stamp rings only on request (tunable `no_timestamp`).
  package let stampsAlways: Bool

  /// The time of the ring's last stamp.
  package var stampClock = StampClock()

  /// Where the ring passes packets on in transparent mode; nil for a ring that cannot.
  var forwarding: UnsafePointer<ForwardingTargets>?

  /// Where syncs show the application the end of its slots: the ring's `tail`, or, for a ring in CSB mode, a word of the
  /// loop that drives it.
  var shownTail: ShownTail
}

/// The result of a sync of one ring.
package enum SyncResult: UInt32, Sendable {
  /// The ring was synced.
  case done = 0
  /// Another thread was syncing the ring; this sync did nothing.
  case busy = 1
  /// The application's `head` or `cur` was out of place; the sync has reset the ring.
  case reset = 2
  /// The backend failed. A later sync may succeed.
  case failed = 3
  /// The ring has stopped for good: the interface is gone.
  case stopped = 4

  /// Whether no packet could be moved: ``failed`` or ``stopped``.
  @inline(__always)
  var isFailure: Bool { rawValue >= Self.failed.rawValue }
}

/// Requests to a backend beyond an ordinary sync (upstream: `NAF_FORCE_*`).
@usableFromInline
package struct SyncFlags: OptionSet, Sendable {
  @usableFromInline package let rawValue: UInt32

  @inlinable
  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Check for new packets even if no interrupt occurred (`NIOCRXSYNC`).
  @inlinable package static var forceRead: Self { Self(rawValue: 1) }
  /// Reclaim every completed slot, even if that costs a system call (`NIOCTXSYNC`).
  @inlinable package static var forceReclaim: Self { Self(rawValue: 2) }
}
