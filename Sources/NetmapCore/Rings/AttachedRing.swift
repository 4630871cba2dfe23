/// A ring as the process that syncs it sees it: one pointer to this process's addresses of everything
/// a sync needs.
///
/// A pointer, so that calls pass it in a register and load only what they use. It owns nothing; the
/// ``AttachedPort`` does, and must outlive it.
@unsafe @usableFromInline
package struct AttachedRing {
  @usableFromInline let parts: UnsafePointer<RingParts>

  package init(_ parts: UnsafePointer<RingParts>) {
    unsafe self.parts = parts
  }

  /// What a backend's data half is called with (``BackendRing/Synchronize``).
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
  package var backend: BackendRing { unsafe parts.pointee.backend }
  package var stampsAlways: Bool { unsafe parts.pointee.stampsAlways }
}

/// What an ``AttachedRing`` points at.
///
/// Plain data, built once from mappings and descriptors (by ``AttachedPort``), the same way in an
/// embedded engine and in a client of a daemon.
@unsafe @usableFromInline
package struct RingParts {
  @usableFromInline package let ring: Ring
  @usableFromInline package let kring: KRing
  package let direction: Direction
  package let kind: RingKind

  /// The other end of a pipe; this ring itself where there is no other end.
  package let peerRing: Ring
  package let peerKRing: KRing

  /// In whose name the ring's lock is taken.
  package let tag: ClientTag

  /// Where to announce that somebody sleeps until this ring makes progress.
  package let waitWord: WaitWord

  /// Whom to wake, by doorbell number.
  package let doorbells: DoorbellTable.View

  /// What moves the packets of a ring of kind ``RingKind/backend``.
  package var backend: BackendRing

  /// What forwards the packets of a ring of kind ``RingKind/bridge``; nil while the port is on no switch.
  var switching: UnsafePointer<SwitchPath>?

  /// False when rings are stamped only on request (tunable `no_timestamp`).
  package let stampsAlways: Bool

  /// When the ring was last stamped.
  package var stampClock = StampClock()
}

/// What a sync did with one ring.
package enum SyncResult: UInt32, Sendable {
  /// The ring was synced.
  case done = 0
  /// Another thread was syncing it; nothing was done.
  case busy = 1
  /// The application's `head` or `cur` was out of place, and the ring has been reset.
  case reset = 2
  /// The backend failed, or the interface has gone.
  case failed = 3
}

/// What a sync asks of a backend beyond the ordinary (upstream: `NAF_FORCE_*`).
@usableFromInline
package struct SyncFlags: OptionSet, Sendable {
  @usableFromInline package let rawValue: UInt32

  @inlinable
  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Look for new packets even if no interrupt was seen (`NIOCRXSYNC`).
  @inlinable package static var forceRead: Self { Self(rawValue: 1) }
  /// Reclaim every completed slot, even if that costs a system call (`NIOCTXSYNC`).
  @inlinable package static var forceReclaim: Self { Self(rawValue: 2) }
}
