internal import CNetmapHalves
internal import Glibc
internal import NetmapCore

// The calls of the C half that any thread may make at any time, with a binding that is attached. They allocate nothing
// and take no lock, but for mail from the daemon, which announces processes and ports that are new.

/// `netmap_half.transmit`
let transmitBinding: @convention(c) (UnsafePointer<netmap_binding>?) -> CInt = { binding in
  unsafe answer(SyncPath.transmit(path(of: binding)), for: binding)
}

/// `netmap_half.receive`
let receiveBinding: @convention(c) (UnsafePointer<netmap_binding>?) -> CInt = { binding in
  unsafe answer(SyncPath.receive(path(of: binding)), for: binding)
}

/// `netmap_half.scan`
let scanBinding:
  @convention(c) (UnsafePointer<netmap_binding>?, UInt32, UnsafeMutablePointer<CInt>?) -> UInt32 = {
    binding, wanted, passedOver in
    let (ready, hasPassed) = unsafe withPort(binding) { port in
      var hasPassed = false
      let ready = port.port.scan(
        Readiness(rawValue: UInt8(truncatingIfNeeded: wanted)), passedOver: &hasPassed)
      return (ready, hasPassed)
    }
    if hasPassed { unsafe passedOver?.pointee = 1 }
    return UInt32(ready.rawValue)
  }

/// `netmap_half.arm`
let armBinding: @convention(c) (UnsafePointer<netmap_binding>?, UInt32, CInt) -> CInt = {
  binding, wanted, onBell in
  let wanted = Readiness(rawValue: UInt8(truncatingIfNeeded: wanted))
  return unsafe withPort(binding) { port in
    port.port.countSleep(wanted)
    guard onBell == 0 else { return port.port.arm(wanted, as: port.bellAnnouncement) ? 1 : 0 }
    return port.announce(wanted)
  }
}

/// `netmap_half.places`
let findPlaces:
  @convention(c) (UnsafePointer<netmap_binding>?, UnsafeMutablePointer<netmap_places>?) -> Void = {
    binding, places in
    let found = unsafe withPort(binding) { $0.places }
    unsafe places?.pointee = netmap_places(
      segment: found.segment, first: (found.transmit.lowerBound, found.receive.lowerBound),
      end: (found.transmit.upperBound, found.receive.upperBound))
  }

/// `netmap_half.has_unsent`
let hasUnsent: @convention(c) (UnsafePointer<netmap_binding>?) -> CInt = { binding in
  unsafe withPort(binding) { $0.port.hasUnsent } ? 1 : 0
}

/// `netmap_half.progress`
let progressOfBinding: @convention(c) (UnsafePointer<netmap_binding>?, UInt32) -> UInt64 = {
  binding, wanted in
  let wanted = Readiness(rawValue: UInt8(truncatingIfNeeded: wanted))
  return unsafe withPort(binding) { $0.port.progress(wanted) }
}

/// `netmap_half.take_names`
let takeNames:
  @convention(c) (
    UnsafePointer<netmap_binding>?, CInt,
    (@convention(c) (UnsafePointer<UInt64>?, Int) -> Void)?
  ) -> CInt = { binding, hasEnded, heard in
    let isReliable = unsafe withPort(binding) { port in
      unsafe port.doorbells.takeNames(hasEnded: hasEnded != 0) { names in
        unsafe heard?(names?.baseAddress, names?.count ?? 0)
      }
    }
    return isReliable ? 1 : 0
  }

/// `netmap_half.announce`
let announceBinding: @convention(c) (UnsafePointer<netmap_binding>?, UInt32) -> CInt = {
  binding, wanted in
  let wanted = Readiness(rawValue: UInt8(truncatingIfNeeded: wanted))
  return unsafe withPort(binding) { $0.announce(wanted) }
}

/// `netmap_half.abandon`
let abandonBinding: @convention(c) (UnsafePointer<netmap_binding>?) -> Void = { binding in
  unsafe withPort(binding) { $0.port.abandon() }
}

private func path(of binding: UnsafePointer<netmap_binding>?) -> UnsafePointer<SyncPath> {
  guard let path = unsafe binding?.pointee.path else {
    preconditionFailure("the binding is not attached")
  }
  return unsafe path.assumingMemoryBound(to: SyncPath.self)
}

/// The errno of a sync: a backend's failure is none, as in netmap, but a port that has stopped is.
private func answer(
  _ outcome: SyncPath.Outcome, for binding: UnsafePointer<netmap_binding>?
) -> CInt {
  switch outcome {
  case .done: 0
  case .stopped: EIO
  case .controlled: EBUSY
  // The rings may not have been marked yet.
  case .failed, .forked: unsafe withPort(binding) { $0.hasStopped } ? EIO : 0
  }
}

func withPort<R>(
  _ binding: UnsafePointer<netmap_binding>?, _ body: (PortInUse) -> R
) -> R {
  guard let place = unsafe binding?.pointee.port else {
    preconditionFailure("the binding is not attached")
  }
  return unsafe Unmanaged<PortInUse>.fromOpaque(place)._withUnsafeGuaranteedRef(body)
}
