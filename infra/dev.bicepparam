// Development, and what `azd -C infra up` deploys: nothing twice, nothing always on.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dev')
param location = readEnvironmentVariable('AZURE_LOCATION')

param database = {
  skuName: 'Standard_D2ds_v5'
  skuTier: 'GeneralPurpose'
  storageSizeGB: 32
  highAvailability: 'Disabled'
  backupRetentionDays: 7
  geoRedundantBackup: 'Disabled'
  readReplica: false
  pgbouncerPoolSize: 50
}

param app = {
  plan: 'flex'
  instanceMemoryMB: 2048
  maximumInstances: 40
  alwaysReadyHttp: 0
  alwaysReadyDurable: 0
  httpConcurrency: 100
  zoneRedundant: false
}

param storageSku = 'Standard_LRS'
param frontDoor = false
param logRetentionDays = 30
param auditRetentionDays = 1

param identityProvider = {
  issuer: readEnvironmentVariable('OIDC_ISSUER')
  audience: readEnvironmentVariable('OIDC_AUDIENCE')
  bootstrapAdmins: filter(split(readEnvironmentVariable('BOOTSTRAP_ADMINS', ''), ','), subject => !empty(subject))
}
param functionKeyDigests = filter(split(readEnvironmentVariable('FUNCTION_KEY_SHA256S', ''), ','), digest => !empty(digest))
param webhookKeySecret = readEnvironmentVariable('WEBHOOK_KEY_SECRET', '')
param alertEmails = filter(split(readEnvironmentVariable('ALERT_EMAILS', ''), ','), address => !empty(address))
