//! One stable word for each thing that can go wrong; the server's table gives each its HTTP status.

use crate::state::words;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

words!(
    /// A stable code. Texts may change between versions, these do not.
    ErrorCode {
        /// The body is not JSON, or a header or query value cannot be read.
        InvalidRequest = "invalid_request",
        /// The task specification breaks one or more rules, each listed.
        InvalidSpec = "invalid_spec",
        /// No data set has this id.
        DatasetNotFound = "dataset_not_found",
        /// The data set has no content yet, or it is still being read.
        DatasetNotReady = "dataset_not_ready",
        /// The data set has content and is sealed.
        DatasetSealed = "dataset_sealed",
        /// A task uses the data set.
        DatasetInUse = "dataset_in_use",
        /// No task has this id.
        TaskNotFound = "task_not_found",
        /// The task's state does not allow this.
        TaskState = "task_state",
        /// No fleet has this id.
        FleetNotFound = "fleet_not_found",
        /// The fleet's state does not allow this.
        FleetState = "fleet_state",
        /// No model has this id.
        ModelNotFound = "model_not_found",
        /// The model has no file of this name.
        FileNotFound = "file_not_found",
        /// No draft data set has this id.
        DraftNotFound = "draft_not_found",
        /// No upload has this id.
        UploadNotFound = "upload_not_found",
        /// Parts of the upload are missing.
        UploadIncomplete = "upload_incomplete",
        /// No webhook has this id.
        WebhookNotFound = "webhook_not_found",
        /// The data set has no example of this number.
        ExampleNotFound = "example_not_found",
        /// No analysis of this kind was asked for.
        AnalysisNotFound = "analysis_not_found",
        /// One of this kind is under way.
        AnalysisBusy = "analysis_busy",
        /// Nothing is at this address.
        NotFound = "not_found",
        /// The address exists but not for this method.
        MethodNotAllowed = "method_not_allowed",
        /// The same Idempotency-Key came with another body.
        IdempotencyConflict = "idempotency_conflict",
        /// The archive is not one this service reads, or it ends too early.
        InvalidArchive = "invalid_archive",
        /// An entry's path leaves the archive, is absolute, or is a link.
        UnsafePath = "unsafe_path",
        /// The archive holds another archive.
        NestedArchive = "nested_archive",
        /// More entries, bytes or compression than allowed.
        ArchiveTooLarge = "archive_too_large",
        /// The archive does not say which class an image is of.
        InvalidLayout = "invalid_layout",
        /// A class has too few readable examples.
        TooFewExamples = "too_few_examples",
        /// The image cannot be read.
        InvalidImage = "invalid_image",
        /// The image has more pixels than allowed.
        ImageTooLarge = "image_too_large",
        /// No network of the search space meets the limits.
        LimitsTooTight = "limits_too_tight",
        /// The byte range is outside the file.
        RangeNotSatisfiable = "range_not_satisfiable",
        /// The address wants a key, and what came is none, or not a good one.
        Unauthorized = "unauthorized",
        /// The key may do less than this.
        Forbidden = "forbidden",
        /// More requests than are answered.
        RateLimited = "rate_limited",
        /// The project has used up what it may use.
        QuotaExceeded = "quota_exceeded",
        /// The database or the object store cannot be reached, or has too much to do.
        Unavailable = "unavailable",
        /// Something of ours failed; the log says what.
        Internal = "internal",
    }
);
